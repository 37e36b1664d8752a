"""What a grid file says of its corpora: names, manifests, or two sides to train and test on."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablation.yaml_lines import Where
from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.cross import ClassMap, cross_corpus
from core.corpora.manifest import SUFFIXES, manifest_corpus
from core.corpora.utterance import CorpusError
from core.schema import show, suggest

KEYS = ("corpora", "train_on", "test_on", "class_map")
ENTRY_KEYS = ("name", "folds", "manifest")
MANIFEST_WITH_DEMO = "--demo has no synthetic speech for a manifest; leave --demo away"

Chosen = dict[str, tuple[Corpus, str]]  # by name: the corpus, and its folds' scheme
Report = Callable[[Where, str, str], None]


class _WrongError(ValueError):
    """An entry that can't be used; it has been reported."""


def read_corpora(
    top: Mapping[str, Any], chosen: tuple[str, ...], demo: bool, report: Report
) -> Chosen:
    """The corpora of a grid, or what is wrong with them by way of `report`.

    Args:
        top: The grid file's top level.
        chosen: From the command line, instead of the file's: names, or paths of manifests. A
            corpus that the file names too keeps the folds it has there.
        report: Takes the place in the file, its name in words and the problem.
    Raises:
        core.corpora.utterance.CorpusError: a manifest with all its defects.
    """
    reader = _Reader(demo, report)
    crossed = any(key in top for key in ("train_on", "test_on", "class_map"))
    if crossed and "corpora" in top:
        report(("corpora",), "corpora", "must stand alone or give way to train_on and test_on")
        return {}
    found = reader.crossed(top) if crossed else reader.listed(top)
    for word in chosen:
        if word not in found:
            found |= reader.named(word)
    return {name: found[name] for name in reader.order(chosen, found)} if chosen else found


class _Reader:
    """Entries of the file or words of the command line to corpora."""

    def __init__(self, demo: bool, report: Report) -> None:
        self._demo = demo
        self._report = report
        self._names: dict[str, str] = {}  # words of the command line to corpus names

    def listed(self, top: Mapping[str, Any]) -> Chosen:
        """`corpora: [...]`."""
        found: Chosen = {}
        for where, label, corpus, scheme in self._entries(top, "corpora"):
            if corpus.name in found:
                self._report(where, label, f"{corpus.name!r} stands twice")
            found.setdefault(corpus.name, (corpus, scheme))
        return found

    def crossed(self, top: Mapping[str, Any]) -> Chosen:
        """`train_on:`, `test_on:` and `class_map:`: a pair for each corpus to test on."""
        train = [corpus for *_, corpus, _ in self._entries(top, "train_on")]
        tests = list(self._entries(top, "test_on"))
        class_map = self._class_map(top, {c.name for c in [*train, *(e[2] for e in tests)]})
        found: Chosen = {}
        for where, label, test, _ in tests:
            if not train:
                break
            try:
                pair = cross_corpus(train, test, class_map)
            except ValueError as error:
                self._report(where, label, str(error))
            else:
                found[pair.name] = (pair, pair.default_scheme)
        return found

    def named(self, word: str) -> Chosen:
        """A word of the command line: a corpus of the catalog, or a manifest's path."""
        if word in CORPORA:
            return {word: (CORPORA[word], CORPORA[word].default_scheme)}
        if not word.lower().endswith(SUFFIXES):
            text = f"must be one of {', '.join(CORPORA)}, a corpus of the grid or a manifest"
            self._report((), "--corpus", f"{text}, got {show(word)}{suggest(word, CORPORA)}")
            return {}
        if self._demo:
            self._report((), "--corpus", MANIFEST_WITH_DEMO)
            return {}
        corpus = manifest_corpus(Path(word))
        self._names[word] = corpus.name
        return {corpus.name: (corpus, corpus.default_scheme)}

    def order(self, words: tuple[str, ...], found: Chosen) -> list[str]:
        """The names that the command line asks for, in its order."""
        names = dict.fromkeys(self._names.get(word, word) for word in words)
        return [name for name in names if name in found]

    def _entries(
        self, top: Mapping[str, Any], key: str
    ) -> Iterator[tuple[Where, str, Corpus, str]]:
        value = top.get(key)
        entries = [value] if key != "corpora" and isinstance(value, str | dict) else value
        if not isinstance(entries, list) or not entries:
            self._report((key,), key, f"must be a list of corpora, found {show(value)}")
            return
        for index, entry in enumerate(entries):
            single = entries is not value
            where: Where = (key,) if single else (key, index)
            label = key if single else f"{key}[{index}]"
            try:
                yield where, label, *self._entry(entry, where, label)
            except _WrongError:
                continue

    def _entry(self, entry: Any, where: Where, label: str) -> tuple[Corpus, str]:
        """A name, or a mapping of `name` or `manifest` and `folds`."""
        settings = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(settings, dict):
            raise self._wrong(where, label, f"must be a name, found {show(entry)}")
        if strange := [key for key in settings if key not in ENTRY_KEYS]:
            for key in strange:
                hint = suggest(str(key), ENTRY_KEYS)
                self._report((*where, key), f"{label}.{key}", f"unknown key{hint}")
            raise _WrongError
        for key in ("name", "manifest"):
            value = settings.get(key, "")
            if not isinstance(value, str) or not value.isprintable():
                text = f"must be one line of text, found {show(value)}"
                raise self._wrong((*where, key), f"{label}.{key}", text)
        folds = self._folds(settings.get("folds", ""), where, label)
        if "manifest" in settings:
            return self._manifest(settings, folds, where, label)
        return self._known(settings.get("name", ""), folds, where, label)

    def _folds(self, value: Any, where: Where, label: str) -> str:
        """A scheme's name; a whole number k asks for k groups of speakers."""
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value}-groups"
        if not isinstance(value, str):
            text = f"must be the name of a scheme or a number of groups, found {show(value)}"
            raise self._wrong((*where, "folds"), f"{label}.folds", text)
        return value

    def _manifest(
        self, settings: Mapping[str, str], folds: str, where: Where, label: str
    ) -> tuple[Corpus, str]:
        if self._demo:
            raise self._wrong(where, label, MANIFEST_WITH_DEMO)
        path = Path(settings["manifest"])
        try:
            corpus = manifest_corpus(path, name=settings.get("name", ""), folds=folds)
        except CorpusError:
            raise  # its defects have lines of their own
        except ValueError as error:
            raise self._wrong(where, label, str(error)) from error
        return corpus, corpus.default_scheme

    def _known(self, name: str, folds: str, where: Where, label: str) -> tuple[Corpus, str]:
        if name not in CORPORA:
            rule = f"must be one of {', '.join(CORPORA)}, or {{manifest: FILE}}"
            text = f"{rule}, found {show(name)}{suggest(name, CORPORA)}"
            raise self._wrong(where, label, text)
        corpus = CORPORA[name]
        if folds and folds not in corpus.schemes:
            rule = f"must be one of {', '.join(corpus.schemes)} for {name}"
            text = f"{rule}, found {show(folds)}{suggest(folds, corpus.schemes)}"
            raise self._wrong((*where, "folds"), f"{label}.folds", text)
        return corpus, folds or corpus.default_scheme

    def _class_map(self, top: Mapping[str, Any], names: set[str]) -> ClassMap:
        """`class_map: {corpus: {label: class, or null to leave it out}}`."""
        value = top.get("class_map") or {}
        rule = "must map a corpus to {label: class}, null leaving a label out"
        if not isinstance(value, dict):
            self._report(("class_map",), "class_map", f"{rule}, found {show(value)}")
            return {}
        for name, labels in value.items():
            where, label = ("class_map", name), f"class_map.{name}"
            if name not in names:
                text = f"must name a corpus of train_on or test_on{suggest(str(name), names)}"
                self._report(where, label, text)
            elif not isinstance(labels, dict) or not all(
                isinstance(old, str) and (new is None or (isinstance(new, str) and new.strip()))
                for old, new in labels.items()
            ):
                self._report(where, label, f"{rule}, found {show(labels)}")
            else:
                continue
            return {}
        return value

    def _wrong(self, where: Where, label: str, text: str) -> _WrongError:
        self._report(where, label, text)
        return _WrongError()
