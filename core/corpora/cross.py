"""Train on some corpora, test on another, over the classes that both sides have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from core.corpora.corpus import Corpus
from core.corpora.folds import FoldScheme
from core.corpora.utterance import Parsed, Utterance
from core.schema import suggest

TEST, HOLDOUT, TRAIN = "test", "holdout", "train"
SCHEME = FoldScheme("cross-corpus", "fold", ((TEST,), (HOLDOUT,), (TRAIN,)), tested=1)

ClassMap = Mapping[str, Mapping[str, str | None]]


def cross_corpus(train: Sequence[Corpus], test: Corpus, class_map: ClassMap) -> Corpus:
    """Make one corpus of two sides; its only fold trains on the one and tests on the other.

    The group that `selection: validation` holds out is the first fold's test group of every
    training corpus. Names, speakers and sessions get their corpus's name in front, so that none
    of one side is taken for one of the other.

    Args:
        train: One or more.
        class_map: By corpus: what a label counts as, None to leave it out; a label that is not
            named stays what it is.
    Raises:
        ValueError: a corpus stands on both sides, the map names an unknown corpus or label, or
            fewer than two classes are left.
    """
    parts = [*train, test]
    names = [part.name for part in parts]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"a corpus must stand once in train_on and test_on, found {doubled} twice")
    maps = {part.name: class_mapping(part, class_map) for part in parts}
    taught = dict.fromkeys(label for part in train for label in maps[part.name].values() if label)
    tested = set(maps[test.name].values())
    classes = tuple(label for label in taught if label in tested)
    if len(classes) < 2:
        raise ValueError(
            f"both sides must share two classes or more, found {', '.join(classes) or 'none'}; "
            f"trained: {', '.join(taught)}; tested: {', '.join(sorted(filter(None, tested)))}"
        )
    return Corpus(
        name=f"{'-'.join(names[:-1])}-to-{test.name}",
        title=f"{' and '.join(part.title for part in train)} to {test.title}",
        classes=classes,
        parse=lambda *folders: _parse(parts, maps, classes, folders),
        sources=tuple(source for part in parts for source in part.sources),
        schemes={SCHEME.name: SCHEME},
        default_scheme=SCHEME.name,
        expected=None,
        where_to_get="",
        layout="; ".join(f"{part.name}: {part.layout}" for part in parts),
        licence="",
        remark="; ".join(
            f"{'tested' if part is test else 'trained'} on {part.name} "
            f"({_in_words(maps[part.name], classes)})"
            for part in parts
        ),
    )


def class_mapping(corpus: Corpus, class_map: ClassMap) -> dict[str, str | None]:
    """What every label of a corpus counts as: {label: class, or None where it is left out}."""
    changes = class_map.get(corpus.name, {})
    for label in changes:
        if label not in corpus.classes:
            hint = suggest(label, corpus.classes)
            raise ValueError(
                f"class_map.{corpus.name} must name its classes {', '.join(corpus.classes)}, "
                f"found {label!r}{hint}"
            )
    return {label: changes.get(label, label) for label in corpus.classes}


def _parse(
    parts: Sequence[Corpus],
    maps: Mapping[str, Mapping[str, str | None]],
    classes: Sequence[str],
    folders: Sequence[Path],
) -> Parsed:
    """Read both sides; where one parts from the paper's corpus is a problem of the whole."""
    remaining = iter(folders)
    made = Parsed(utterances=[], notes=[], missing=[])
    for part in parts:
        parsed = part.parse(*islice(remaining, len(part.sources)))
        side = TEST if part is parts[-1] else TRAIN
        kept = [item for item in parsed.utterances if maps[part.name][item.label] in classes]
        made.utterances.extend(_joined(item, part, maps[part.name], side) for item in kept)
        made.notes.append(
            f"{'tested' if side == TEST else 'trained'} on {len(kept)} utterances of {part.name}: "
            f"{_in_words(maps[part.name], classes)}"
        )
        made.notes.extend(f"{part.name}: {note}" for note in parsed.notes)
        made.problems.extend(f"{part.name}: {text}" for text in part.deviations(parsed))
        made.duplicates.extend(parsed.duplicates)
    return made


def _joined(
    item: Utterance, part: Corpus, labels: Mapping[str, str | None], side: str
) -> Utterance:
    scheme = part.schemes[part.default_scheme]
    held_out = side == TRAIN and getattr(item, scheme.by) in scheme.groups[0]
    label = labels[item.label]
    assert label is not None, "labels that are left out have no utterance here"
    return replace(
        item,
        name=f"{part.name}/{item.name}",
        label=label,
        speaker=f"{part.name}/{item.speaker}",
        session=f"{part.name}/{item.session}",
        fold=HOLDOUT if held_out else side,
    )


def _in_words(labels: Mapping[str, str | None], classes: Sequence[str]) -> str:
    """ "calm as neutral, happy, without disgust": every label of the corpus, explicitly."""
    kept = [
        label if label == name else f"{label} as {name}"
        for label, name in labels.items()
        if name in classes
    ]
    dropped = [label for label, name in labels.items() if name not in classes]
    return ", ".join(kept) + (f", without {', '.join(dropped)}" if dropped else "")
