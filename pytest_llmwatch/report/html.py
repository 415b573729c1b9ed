"""report.html: one offline file."""

from __future__ import annotations

from pytest_llmwatch.model import Report
from pytest_llmwatch.report import view


def render(report: Report) -> str:
    """Return the HTML report."""
    from jinja2 import Environment

    env = Environment(autoescape=True)
    template = env.from_string(
        "<!doctype html><meta charset=utf-8><meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
        "<title>{{ r.verdict }}</title><h1>{{ r.sentence }}</h1><table>{% for row in rows %}<tr><td>{{ row.mark }} "
        "{{ row.word }}<td>{{ row.rule }}<td>{{ row.observed }}<td>{{ row.limit }}<td>{{ row.n }}"
        "<td>{{ row.note }}{% endfor %}</table>"
    )
    return template.render(r=report, rows=view.rules(report))
