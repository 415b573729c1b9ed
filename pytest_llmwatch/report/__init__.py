"""Report -> text: terminal, Markdown, JSON and one offline HTML file. Renderers only read."""
