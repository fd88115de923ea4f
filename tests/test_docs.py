"""The documents against the code: links, commands, settings, paths, and the list of models."""

import ast
import re
import shlex

import pytest
from documents import DOCUMENTS, ROOT, blocks, prose

import app
from studio import cli
from studio.families import FAMILIES
from studio.modes import MODES
from studio.registry import ModelFile

NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)

# Guides whose commands are about what they add: `test_adding.py` runs them.
GUIDES = ("adding-a-mode.md", "adding-a-model.md")

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"\bAIO_[A-Z_]*[A-Z]")
PATH = re.compile(
    r"(?<![\w/~.-])((?:studio|tests|tools|bench|soak|assets|workflows|docs)/[\w./*-]*)"
)
NEW_FILE = re.compile(r"A new file `([^`]+)`")
ATTRIBUTE = re.compile(r"`([a-z_]+)\.(\w+)[^`]*`")
COMMAND = re.compile(
    r"(?:[A-Z_]+=\S+ )*((?:python|\.venv\\Scripts\\python) (?:-m studio|app\.py)|make)(?= |$)(.*)"
)
PLACEHOLDERS = {"MODE": "t2v", "N": "7860"}
ENDINGS = ("py", "js", "css", "json", "jsonl", "sqlite3", "lock")


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    return {slug(heading) for heading in HEADING.findall(prose(path))}


@DOCUMENT
def test_links_lead_to_files_and_headings(path):
    for link in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(path):
    """(program, arguments) of every command in blocks and between backticks, as it is written."""
    lines = [line.removeprefix("$ ") for block in blocks(path) for line in block.code.splitlines()]
    for line in [*lines, *INLINE.findall(prose(path))]:
        found = COMMAND.fullmatch(line)
        if found and path.name not in GUIDES:
            yield found[1], shlex.split(found[2], comments=True)


def parser_of(program):
    return app._parser() if program.endswith("app.py") else cli._parser()


def as_given(arguments):
    """The arguments with values for placeholders; what is only named is asked for its help."""
    words = [
        PLACEHOLDERS.get(word, word)
        for before, word in zip(["", *arguments], arguments, strict=False)
        if word != "…" or before.startswith("--")
    ]
    return words if len(words) > 1 else [*words, "--help"]


@DOCUMENT
def test_commands_are_ones_that_the_programs_take(path, capsys):
    for program, arguments in commands(path):
        if program == "make":
            target = next((one for one in arguments if "=" not in one), "run")
            assert f"\n{target}: " in (ROOT / "Makefile").read_text(), arguments
            continue
        try:
            parser_of(program).parse_args(as_given(arguments))
        except SystemExit as end:
            assert end.code == 0, f"{program} {' '.join(arguments)}: {capsys.readouterr().err}"


def test_commands_are_found():
    found = [program for path in DOCUMENTS for program, _ in commands(path)]
    assert {"make", "python app.py", "python -m studio"} <= set(found)
    assert len(found) > 40


SOURCES = "\n".join(
    path.read_text()
    for pattern in ("studio/*.py", "*.py", "tests/*.py", "soak/*.py", "bench/*.py")
    for path in ROOT.glob(pattern)
)


@DOCUMENT
def test_settings_are_read_somewhere(path):
    for name in set(SETTING.findall(path.read_text())):
        assert re.search(rf"[\"']{name}[\"']", SOURCES), name


def test_settings_of_the_studio_are_in_a_document():
    told = set(SETTING.findall("\n".join(path.read_text() for path in DOCUMENTS)))
    read = set(re.findall(r"[\"'](AIO_[A-Z_]+)[\"']", "\n".join(
        path.read_text() for path in (*ROOT.glob("studio/*.py"), *ROOT.glob("*.py"))
    )))  # fmt: skip
    assert not read - told


@DOCUMENT
def test_paths_are_there(path):
    text = path.read_text()
    new = set(NEW_FILE.findall(text))
    for name in {found.rstrip("./") for found in PATH.findall(text)} - new:
        assert list(ROOT.glob(name)), name


@DOCUMENT
def test_what_is_said_to_be_in_a_module_is_there(path):
    for module, name in ATTRIBUTE.findall(prose(path)):
        file = ROOT / "studio" / f"{module}.py"
        if file.exists() and name not in ENDINGS:
            assert re.search(rf"\b{name}\b", file.read_text()), f"{module}.{name}"


# The list of models


def place(model):
    return f"{model.folder}/{model.name}" + ("" if isinstance(model, ModelFile) else "/")


def rows(heading, first):
    """The cells of the table below a heading of models.md whose first column is `first`."""
    text = (ROOT / "docs" / "models.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section.partition(f"| {first} |")[2].strip().partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")[2:]]


def models_of(family):
    found = [model for one in family.variants for role in one.parts.values() for model in role]
    found += [adapter.model for one in family.variants for adapter in one.adapters.values()]
    return dict.fromkeys([*found, *family.control_models.values()])


FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))


@FAMILY
def test_models_has_every_set_with_its_engine_size_and_parts(family):
    assert [row[:3] for row in rows(family.label, "set")] == [
        [one.label, one.engine, f"{sum(model.gigabytes for model in one.models):.1f}"]
        for one in family.variants
    ]
    for row, one in zip(rows(family.label, "set"), family.variants, strict=True):
        assert INLINE.findall(row[3]) == [
            place(model) for role in one.parts.values() for model in role
        ]


@FAMILY
def test_models_has_every_file_with_its_use_size_licence_and_source(family):
    listed = rows(family.label, "below `models/`")
    assert all(row[1] for row in listed)
    assert [(row[0], *row[2:]) for row in listed] == [
        (f"`{place(one)}`", f"{one.gigabytes:g}", one.licence, f"[{one.page.removeprefix('https://huggingface.co/')}]({one.page})")
        for one in models_of(family)
    ]  # fmt: skip


@FAMILY
def test_models_says_which_modes_a_family_is_for(family):
    text = (ROOT / "docs" / "models.md").read_text()
    modes = ", ".join(f"`{mode.id}`" for mode in MODES.values() if mode.family == family.id)
    assert f"\n## {family.label}\nFor {modes}.\n" in text


def test_messages_that_the_readme_explains_are_the_studios_own():
    sources = (ROOT / "app.py", *(ROOT / "studio").glob("*.py"))
    said = "\n".join(
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    table = (ROOT / "README.md").read_text().partition("| it says | do |")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| “([^”]+)”", table, re.MULTILINE)
    assert len(messages) > 5
    for message in messages:
        # A number is filled in.
        assert all(part in said for part in re.split(r"\d+", message)), message
