"""Where each key stands in a TOML text: tomllib reads values but keeps no positions.

A scanner over text that tomllib has already accepted, so it may trust the syntax: it follows table
headers, dotted and quoted keys, inline tables, arrays and all four kinds of strings, and notes the line
of every key. Comments and strings never count as keys.
"""

from __future__ import annotations

import tomllib

Path = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Return the 1-based line of every key and table in ``text``.

    Paths hold keys and, for arrays of tables and inline tables in arrays, 0-based indices:
    ``("latency", "p95", "fail")``, ``("waiver", 0, "rule")``. A table that is only implied by a dotted
    name takes the line of the first header or key that implies it.

    Args:
        text: A TOML document that ``tomllib.loads`` accepts.
    """
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.array_sizes: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t\n":
                self.step()
            elif char == "#":
                self.comment()
            elif char == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def step(self, n: int = 1) -> None:
        self.line += self.text.count("\n", self.at, self.at + n)
        self.at += n

    def comment(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def blanks(self, newlines: bool = False) -> None:
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t" or (newlines and char == "\n"):
                self.step()
            elif newlines and char == "#":
                self.comment()
            else:
                return

    def header(self) -> Path:
        line = self.line
        is_array = self.text.startswith("[[", self.at)
        self.step(2 if is_array else 1)
        keys = self.keys()
        self.step(2 if is_array else 1)
        path: Path = ()
        for key in keys[:-1]:
            path = self.enter((*path, key), line)
        last = (*path, keys[-1])
        if is_array:
            self.note(last, line)
            index = self.array_sizes.get(last, 0)
            self.array_sizes[last] = index + 1
            path = (*last, index)
        else:
            path = last
        # a table's own header is a better place than a sub-table that implied it earlier
        self.lines[path] = line
        return path

    def enter(self, path: Path, line: int) -> Path:
        """Note ``path``; inside an array of tables, go to its latest element."""
        self.note(path, line)
        size = self.array_sizes.get(path)
        return path if size is None else (*path, size - 1)

    def note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)

    def pair(self, table: Path) -> None:
        line = self.line
        keys = self.keys()
        path = table
        for key in keys:
            path = (*path, key)
            self.note(path, line)
        self.blanks()
        self.step()  # the equals sign
        self.blanks()
        self.value(path)

    def keys(self) -> list[str]:
        out = []
        while True:
            self.blanks()
            out.append(self.key())
            self.blanks()
            if not self.text.startswith(".", self.at):
                return out
            self.step()

    def key(self) -> str:
        start = self.at
        quote = self.text[self.at]
        if quote in "\"'":
            self.string()
            # tomllib knows the escapes; a key is a one-line string
            value = tomllib.loads(f"k = {self.text[start : self.at]}")["k"]
            return str(value)
        while self.at < len(self.text) and self.text[self.at] not in " \t\n=.]#,{}":
            self.at += 1
        if self.at == start:  # not reachable for a valid document; never loop on an invalid one
            self.at += 1
        return self.text[start : self.at]

    def value(self, path: Path) -> None:
        char = self.text[self.at : self.at + 1]
        if char in ('"', "'"):
            self.string()
        elif char == "[":
            self.array(path)
        elif char == "{":
            self.inline_table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.step(3)
            while not self.text.startswith(quote * 3, self.at):
                if self.at >= len(self.text):
                    return
                self.step(2 if quote == '"' and self.text[self.at] == "\\" else 1)
            # up to two quotes may stand before the closing three
            while self.text.startswith(quote * 4, self.at):
                self.step()
            self.step(3)
            return
        self.step()
        while self.at < len(self.text) and self.text[self.at] != quote:
            self.step(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        self.step()

    def array(self, path: Path) -> None:
        self.step()
        index = 0
        while True:
            self.blanks(newlines=True)
            if self.at >= len(self.text) or self.text[self.at] == "]":
                self.step()
                return
            if self.text[self.at] == ",":
                self.step()
                continue
            if self.text[self.at] in "{[":
                self.note((*path, index), self.line)
            self.value((*path, index))
            index += 1

    def inline_table(self, path: Path) -> None:
        self.step()
        while True:
            self.blanks(newlines=True)
            if self.at >= len(self.text) or self.text[self.at] == "}":
                self.step()
                return
            if self.text[self.at] == ",":
                self.step()
                continue
            self.pair(path)
