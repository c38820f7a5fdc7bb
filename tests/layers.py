"""The import rules of each folder of src, and no circle of files anywhere.

Reads `use` trees and paths of the sources, and resolves `crate::`, `self::`, `super::`,
child modules and re-exports to the file that defines a name. Tests are left out.
"""

import re
import sys
from pathlib import Path

# What each folder or file of src may import. The longest name that fits a file counts.
CORE = ["wire", "check"]
BELOW_DRIVER = CORE + ["proto", "observability", "socket", "config", "tls", "memory_budget"]
BELOW_ENDS = BELOW_DRIVER + ["driver", "backoff", "memory_budget"]
RULES = {
    "check": [],
    "backoff": [],
    "tls": [],
    "rewind": [],
    "memory_budget": ["check"],
    "wire": [],
    "proto": CORE,
    "observability": CORE + ["proto", "tls"],
    "socket": ["check", "observability", "rewind"],
    "config": CORE + ["proto", "socket", "memory_budget"],
    "driver": BELOW_DRIVER,
    "client": BELOW_ENDS,
    "server": BELOW_ENDS + ["rewind"],
    "guide": [],
    "bin": [],
    "lib": BELOW_ENDS + ["client", "server"],
}

# The core and the wire format know no runtime, no socket and no clock.
PURE = ("wire", "proto", "check")
IMPURE = re.compile(r"\b(tokio|socket2|std::net|std::thread|Instant::now|SystemTime)\b")


def without_comments(text):
    """The source with comments and the contents of strings blanked."""
    token = re.compile(
        r"""//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\])'""", re.S
    )
    return token.sub(lambda m: '""' if '"' in m[0][:3] else " ", text)


def end_of_item(text, start):
    """Where the item that starts there ends: its `;` or its closing brace."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
            if depth == 0:
                return i + 1
        elif text[i] == ";" and depth == 0:
            return i + 1
    return len(text)


def without_tests(text):
    # `all(test, ...)` as well, but not `any(test, ...)`.
    attribute = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*")
    while match := attribute.search(text):
        text = text[: match.start()] + text[end_of_item(text, match.end()) :]
    return text


def expand(tree, prefix=()):
    """The paths of a use tree, each with the name that it gets."""
    tree = tree.strip()
    if match := re.fullmatch(r"(.*?)(?:::)?\s*\{(.*)\}", tree, re.S):
        head = tuple(p.strip() for p in match[1].split("::") if p.strip())
        depth, part = 0, ""
        for c in match[2] + ",":
            depth += (c == "{") - (c == "}")
            if c == "," and depth == 0:
                if part.strip():
                    yield from expand(part, prefix + head)
                part = ""
            else:
                part += c
        return
    path, _, alias = (p.strip() for p in re.sub(r"\s+as\s+", "\0", tree).partition("\0"))
    path = prefix + tuple(p.strip() for p in path.split("::") if p.strip())
    if path[-1] == "self":
        path = path[:-1]
    yield path, alias or path[-1]


class Module:
    def __init__(self, path, file, parent):
        self.path, self.file, self.parent = path, file, parent
        self.children, self.names, self.paths = {}, {}, []


class Crate:
    """The modules that are reached from a root, and what each file takes of which."""

    def __init__(self, root):
        self.modules, self.edges = {}, {}
        self.root = self.load((), root, root.parent, None)
        for module in self.modules.values():
            for path in module.paths:
                for target in self.resolve(module, path):
                    if target != module.file:
                        name = "::".join(path)
                        self.edges.setdefault(module.file, {}).setdefault(target, set()).add(name)

    def load(self, path, file, folder, parent):
        text = without_tests(without_comments(file.read_text()))
        # A #[path] is a string: it is read from the source itself.
        paths = dict(re.findall(r'#\[path = "([^"]+)"\]\s*(?:pub )?mod (\w+);', file.read_text()))
        paths = {name: where for where, name in paths.items()}
        return self.read(path, file, folder, parent, text, paths)

    def read(self, path, file, folder, parent, text, paths):
        module = self.modules[path] = Module(path, file, parent)
        declared = re.compile(r"\bmod\s+(\w+)\s*([;{])")
        at = 0
        while match := declared.search(text, at):
            name, at = match[1], match.end()
            if match[2] == "{":
                end = end_of_item(text, match.end() - 1)
                inner, at = text[match.end() : end - 1], match.start()
                text = text[: match.start()] + text[end:]
                child = self.read(path + (name,), file, folder / name, module, inner, {})
            else:
                files = [folder / f"{name}.rs", folder / name / "mod.rs"]
                if name in paths:
                    files = [file.parent / paths[name]]
                found = next((f for f in files if f.exists()), None)
                if not found:
                    sys.exit(f"{file}: no file for mod {name}")
                child = self.load(path + (name,), found, folder / name, module)
            module.children[name] = child
        used = re.compile(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
        code = used.sub("", text)
        for public, tree in used.findall(text):
            for target, name in expand(tree):
                module.names.setdefault(name, []).append(target)
                # What a module only passes on, it does not need itself.
                if not public or re.search(rf"\b{name}\b", code):
                    module.paths.append(target)
        inline = re.compile(r"(?<![\w:])([A-Za-z_]\w*)((?:::[A-Za-z_]\w*)+)")
        for first, rest in inline.findall(code):
            module.paths.append((first, *rest[2:].split("::")))
        return module

    def resolve(self, module, path, seen=()):
        """The files that define what the path names; none if it is another crate's."""
        if (module.path, path) in seen:
            return set()
        seen += ((module.path, path),)
        at, rest = module, list(path)
        if rest[0] == "crate":
            at, rest = self.root, rest[1:]
        elif rest[0] in ("self", "super"):
            while rest and rest[0] in ("self", "super"):
                at = at.parent if rest[0] == "super" else at
                rest = rest[1:]
        elif rest[0] not in at.children and rest[0] not in at.names:
            return set()
        while rest:
            if rest[0] in at.children:
                at, rest = at.children[rest[0]], rest[1:]
            elif rest[0] in at.names:
                found = set()
                for target in at.names[rest[0]]:
                    # `use tokio::x as tokio` is another crate's, however it goes on.
                    if target[0] != rest[0] or rest[0] in at.children:
                        found |= self.resolve(at, target + tuple(rest[1:]), seen)
                return found
            else:
                return {at.file}
        return set()  # a module: what is taken of it stands where it is used


def circles(edges):
    """Sets of files each of which reaches the others."""
    reach = {}
    for start in edges:
        seen, todo = set(), list(edges[start])
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo.extend(edges.get(file, ()))
        reach[start] = seen
    found = {
        frozenset(other for other in reach if other in reach[file] and file in reach[other])
        for file in reach
        if file in reach[file]
    }
    return sorted(map(sorted, found))


def room(file):
    """The rule's name for a file of src."""
    name = file.with_suffix("").as_posix().removeprefix("src/").removesuffix("/mod")
    fits = [rule for rule in RULES if name == rule or name.startswith(rule + "/")]
    return max(fits, key=len, default=None)


def may(source, target):
    here, there = room(source), room(target)
    return here == there or any(f"{there}/".startswith(f"{rule}/") for rule in RULES[here])


def impurities(code):
    """What of a runtime, a socket or a clock the code names, in a `use` tree, too."""
    trees = re.findall(r"\buse\s+([^;]+);", code)
    used = ["::".join(path) for tree in trees for path, _ in expand(tree)]
    return set(IMPURE.findall("\n".join([code, *used])))


def main():
    bad = []
    for file in sorted(Path("src").rglob("*.rs")):
        if not room(file):
            bad.append(f"{file} has no rule in tests/layers.py")
        elif room(file) in PURE and file.name != "tests.rs":
            code = without_tests(without_comments(file.read_text()))
            for word in sorted(impurities(code)):
                bad.append(f"{file} knows {word}")
    places = ["src", "benches/src", "benches/wan/src"]
    roots = [Path(place) / name for place in places for name in ("lib.rs", "main.rs")]
    for place in places:
        roots += Path(place, "bin").glob("*.rs")
        roots += Path(place, "bin").glob("*/main.rs")
    for root in sorted(filter(Path.exists, roots)):
        crate = Crate(root)
        if root == Path("src/lib.rs"):
            for source, targets in sorted(crate.edges.items()):
                for target in sorted(targets):
                    if room(source) and room(target) and not may(source, target):
                        names = ", ".join(sorted(targets[target]))
                        bad.append(f"{source} may not import {target}: {names}")
        for circle in circles(crate.edges):
            bad.append("a circle of files:")
            for source in circle:
                for target in sorted(set(crate.edges[source]) & set(circle)):
                    names = ", ".join(sorted(crate.edges[source][target]))
                    bad.append(f"  {source} -> {target}: {names}")
    print("\n".join(bad), file=sys.stderr, end="\n" if bad else "")
    sys.exit(bool(bad))


main()
