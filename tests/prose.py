"""No sentence above 35 words in the docs, outside tables and code.

Reads the pages and the doc comments of src. Each list item and each paragraph is a block;
a sentence ends with a stop, and also with its block.
"""

import re
import sys
from pathlib import Path

MOST = 35

PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benches/README.md",
    "benches/wan/README.md",
    "fuzz/README.md",
    "loom/README.md",
]


def doc_comments(text):
    """The doc comments of a source; what stands between two is a line without words."""
    for line in text.splitlines():
        match = re.match(r"\s*//[/!](?!/) ?(.*)", line)
        yield match[1] if match else ""


def blocks(lines):
    """Paragraphs and list items with the number of their first line."""
    words, start, fence = [], 0, None
    for number, line in enumerate(lines, 1):
        line = line.strip()
        mark = re.match(r"(```+|~~~+)", line)
        if mark and (fence is None or line.startswith(fence)):
            fence, line = (mark[1] if fence is None else None), ""
        elif fence:
            line = ""
        ends = not line or re.match(r"[|#<]|\[[^]]+\]:|-{3,}$|={3,}$", line)
        begins = re.match(r"([-*+]|\d+\.)\s+|>\s?", line)
        if (ends or begins) and words:
            yield start, " ".join(words)
            words = []
        if not ends:
            start = start if words else number
            words.append(line[begins.end() :] if begins else line)
    if words:
        yield start, " ".join(words)


def sentences(block):
    block = re.sub(r"`[^`]*`", "code", block)
    block = re.sub(r"!?\[([^]]*)\](\([^)]*\)|\[[^]]*\])?", r"\1", block)
    block = re.sub(r"\b(e\.g|i\.e|etc|vs|approx)\.", r"\1", block)
    return re.split(r"(?<=[.!?])[\"')*_]*\s+", block)


def count(sentence):
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def main():
    bad = []
    pages = [Path(page) for page in PAGES if Path(page).exists()]
    pages += sorted(Path("src").rglob("*.md"))
    sources = sorted(Path("src").rglob("*.rs"))
    for file in pages + sources:
        lines = file.read_text().splitlines()
        if file.suffix == ".rs":
            lines = doc_comments("\n".join(lines))
        for number, block in blocks(lines):
            for sentence in sentences(block):
                if count(sentence) > MOST:
                    start = " ".join(sentence.split()[:8])
                    bad.append(f"{file}:{number}: {count(sentence)} words: {start} ...")
    print("\n".join(bad), file=sys.stderr, end="\n" if bad else "")
    sys.exit(bool(bad))


main()
