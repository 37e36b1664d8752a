"""A trained model in one safetensors file: weights, and all that must be known to use them.

Tensors go by the model's own names. Among the metadata stand, as JSON, `facts` (`ModelFacts`) and
`config`, the resolved config. Nothing in such a file is ever executed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from core.config import RECIPE_VERSION, RunConfig
from core.schema import cut, show
from core.snapshots import SnapshotError, read_as
from core.whole_files import whole_file

FORMAT = 1  # raised when the file's layout changes
MOST_CLASSES = 1000  # O: the corpora have 4 to 8
_OF_FILES = (SafetensorError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError)


class ModelError(ValueError):
    """A kept or exported model that can't be used; says what must hold and was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Which training left these weights.

    Attributes:
        classes: In the order of the logits.
        epoch: After which the weights are. Under `selection: oracle` the last one, since the test
            fold never picks weights.
        kept: "all", or "best" of a model that goes once its row has a better fold.
    """

    format: int
    recipe: int
    run_id: str
    classes: tuple[str, ...]
    corpus_fingerprint: str
    encoder_fingerprint: str
    epoch: int
    kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A trained model as it lies in a file."""

    facts: ModelFacts
    config: RunConfig
    tensors: dict[str, Tensor]


def write_model(path: Path, model: KeptModel) -> None:
    """Write a model whole or not at all.

    Raises:
        OSError: it can't be written; what stood there stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": "pt",  # transformers' own word for tensors of torch
        "facts": json.dumps(asdict(model.facts)),
        "config": json.dumps(model.config.to_dict()),
    }
    plain = {name: item.detach().cpu().contiguous() for name, item in model.tensors.items()}
    with whole_file(path) as file:
        file.write(save(plain, metadata))


def read_model(path: Path) -> KeptModel:
    """Read a model, its tensors onto the CPU.

    Raises:
        ModelError: it can't be read, or is no whole model that this code can use.
    """
    try:
        if not path.is_file():  # a named pipe would wait for its writer
            raise ModelError("it must be a file, found none")
        with safe_open(path, "pt") as file:
            facts, config = _read_metadata(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except _OF_FILES as error:
        raise ModelError(f"{path}: it must be an intact model, found: {_line(error)}") from error
    except ValueError as error:
        raise ModelError(f"{path}: {_line(error)}") from error
    return KeptModel(facts=facts, config=config, tensors=tensors)


def read_facts(path: Path) -> ModelFacts:
    """What a model's file says of it, its tensors left where they are.

    Raises:
        ModelError: as `read_model`.
    """
    try:
        with safe_open(path, "pt") as file:
            return _read_metadata(file.metadata())[0]
    except (*_OF_FILES, ValueError) as error:
        raise ModelError(f"{path}: it must be a model, found: {_line(error)}") from error


def refuse_other_tensors(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise `ModelError` unless these are the tensors of this model, finite numbers all.

    Args:
        own: Those that the model has; may be on the meta device.
    """
    for names, fault in ((own.keys() - tensors.keys(), "lacks"), (tensors.keys() - own, "has")):
        if names:
            raise ModelError(f"its tensors must be this model's, but it {fault} {show(min(names))}")
    for name, tensor in tensors.items():
        if (tensor.dtype, tensor.shape) != (own[name].dtype, own[name].shape):
            wanted, found = (f"{item.dtype} {tuple(item.shape)}" for item in (own[name], tensor))
            raise ModelError(f"its tensor {name} must be {wanted}, got {found}")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"its tensor {name} must hold finite numbers, got others")


def _read_metadata(metadata: Mapping[str, str] | None) -> tuple[ModelFacts, RunConfig]:
    if not metadata or not {"facts", "config"} <= metadata.keys():
        raise ModelError("it must say what it was trained as, found a file without `facts`")
    try:
        facts = read_as(ModelFacts, json.loads(metadata["facts"]), "facts")
    except (SnapshotError, RecursionError) as error:
        raise ModelError(f"its facts must be a model's, found: {error}") from error
    if (facts.format, facts.recipe) != (FORMAT, RECIPE_VERSION):
        raise ModelError(
            f"it must be of format {FORMAT} and recipe {RECIPE_VERSION}, found {facts.format} and "
            f"{facts.recipe}: another version of this program made it"
        )
    classes = facts.classes
    if not 1 < len(set(classes)) == len(classes) <= MOST_CLASSES:
        raise ModelError(f"it must have 2 to {MOST_CLASSES} different classes, got {len(classes)}")
    for name in (*classes, facts.run_id, facts.corpus_fingerprint, facts.encoder_fingerprint):
        if not name or not name.isprintable() or len(name) > 80:
            raise ModelError(f"its names must be short printable text, got {show(name)}")
    config = json.loads(metadata["config"])
    if not isinstance(config, dict):
        raise ModelError(f"its config must be a mapping, got {show(config)}")
    return facts, RunConfig.from_dict(config)


def _line(error: Exception) -> str:
    """One line that steers no terminal."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.isprintable() else cut(repr(text))
