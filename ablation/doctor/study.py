"""Are the encoders and the corpora of a grid at hand, and do its trials fit on this machine?"""

from collections.abc import Callable, Iterator
from pathlib import Path

from ablation.corpora import NoCorpusError, read_corpus
from ablation.doctor.findings import Finding, listed, ok, one_line, problem, warning
from ablation.doctor.load import Load
from ablation.grid import Grid
from ablation.options import Options
from core.checkpoints import (
    CheckpointError,
    MissingCheckpointError,
    geometry,
    open_checkpoint,
)
from core.config import EncoderConfig, PoolingConfig
from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.utterance import CorpusError
from core.encoder_catalog import ENCODERS, is_pretrained

ANSWER_S = 5.0
SHOWN_DIFFERENCES = 3  # O: the verb `check` names them all
OTHER_ENCODER = "another encoder (--encoder NAME or FOLDER)"


def trials_finding(load: Load, address: str | None) -> Finding:
    """Whether a trial fits on this machine at all; of a cluster, only the cluster knows."""
    text = load.resources.rstrip(".")
    if not load.at_once and not address:
        return problem("trials", text, "smaller --cpus-per-trial or --gpus-per-trial")
    return ok("trials", text)


def encoder_findings(
    grid: Grid, options: Options, hub: Callable[[str], str] | None = None
) -> Iterator[Finding]:
    """Whether each encoder is here and fits what is asked of it.

    Args:
        hub: Why a checkpoint of this name can't be downloaded, "" where it can; by default the
            hub is asked.
    """
    wanted = [cell.config for cell in grid.cells if not options.only or cell.row in options.only]
    drawn = dict.fromkeys(
        config.encoder.name for config in wanted if not is_pretrained(config.encoder.name)
    )
    if drawn:
        verb = "needs" if len(drawn) == 1 else "need"
        yield ok("encoder", f"{listed(drawn)} {verb} no weights")
    seen: set[Finding] = set()
    for encoder, pooling in dict.fromkeys((config.encoder, config.pooling) for config in wanted):
        if is_pretrained(encoder.name):
            found = _encoder(encoder, pooling, hub or hub_fault)
            if found not in seen:
                yield found
            seen.add(found)


def hub_fault(source: str) -> str:
    """Why the hub does not offer a checkpoint now; "" where it does."""
    from huggingface_hub import HfApi  # takes a second, and only a missing checkpoint needs it

    try:
        HfApi().model_info(source, timeout=ANSWER_S)
    except Exception as error:  # whatever the network or the hub can raise
        return f"{type(error).__name__}: {one_line(str(error), 160)}"
    return ""


def corpus_findings(grid: Grid, options: Options) -> Iterator[Finding]:
    """Whether each corpus is at hand and the one that the paper means."""
    if grid.demo:
        text = f"{listed(grid.corpora)}: synthetic speech, written at the first start"
        yield ok("corpus", text)
        return
    found = {name: _corpus(corpus, options) for name, corpus in grid.corpora.items()}
    everything_absent = all(isinstance(item, NoCorpusError) for item in found.values())
    for name, item in found.items():
        if isinstance(item, Finding):
            yield item
        elif everything_absent:
            yield problem("corpus", _told(name, item), _where(grid.corpora[name]))
        else:
            text = f"{_told(name, item)}; its rows of the table would stay empty"
            yield warning("corpus", text, _where(grid.corpora[name]))


def data_finding(data: Path) -> Finding:
    """Which of the paper's corpora a folder holds, where no grid says which are wanted."""
    found, absent = [], []
    for name, corpus in CORPORA.items():
        try:
            read_corpus(corpus, data)
            found.append(name)
        except CorpusError:
            absent.append(name)
    text = f"{data} holds {listed(found)}" if found else f"{data} holds none of the paper's corpora"
    if not absent:
        return ok("corpus", text)
    remedy = f"for {listed(absent)}: python runner.py fetch NAME --data DIR"
    return ok("corpus", text, remedy) if found else warning("corpus", text, remedy)


def _encoder(config: EncoderConfig, pooling: PoolingConfig, hub: Callable[[str], str]) -> Finding:
    name = config.name
    source = ENCODERS[name].source if name in ENCODERS else name
    try:
        checkpoint = open_checkpoint(name)
        checkpoint.weight_files()
        features = config.frame_features(geometry(config).features)
    except MissingCheckpointError:
        fault = hub(source)
        if not fault:
            text = f"{name!r} is not here and will be downloaded at the start"
            return warning("encoder", text, f"hf download {source}")
        text = f"{name!r} is not here, and can't be downloaded now: {fault}"
        remedy = f"hf download {source} while online, or its folder: --encoder FOLDER"
        return problem("encoder", text, remedy)
    except CheckpointError as error:
        return problem(
            "encoder", str(error).removeprefix("encoder "), f"download it again, or {OTHER_ENCODER}"
        )
    if pooling.method == "flam" and features % pooling.heads:
        text = f"pooling.heads must divide the {features} features of {name}, got {pooling.heads}"
        return problem("encoder", text, f"--set pooling.heads=N, or {OTHER_ENCODER}")
    where = "" if str(checkpoint.folder) == name else f" in {checkpoint.folder}"
    return ok("encoder", f"{name}{where}")


def _corpus(corpus: Corpus, options: Options) -> Finding | NoCorpusError:
    try:
        folders, parsed = read_corpus(corpus, options.data)
        deviating = corpus.deviations(parsed)
    except NoCorpusError as error:
        return error
    except CorpusError as error:
        return problem("corpus", _told(corpus.name, error), _where(corpus))
    source = listed(map(str, folders)) if folders else "its manifest"
    text = f"{corpus.name}: {len(parsed.utterances)} utterances, from {source}"
    if not deviating:
        return ok("corpus", text)
    count = len(deviating)
    text += f"; {count} difference{'s' if count > 1 else ''} from the paper's"
    if options.accept_counts:
        return ok("corpus", f"{text}, accepted")
    rest = count - SHOWN_DIFFERENCES
    text += f": {'; '.join(deviating[:SHOWN_DIFFERENCES])}"
    text += f"; and {rest} more" if rest > 0 else ""
    remedy = f"python runner.py check {corpus.name} names each; --accept-counts trains all the same"
    return problem("corpus", text, remedy)


def _told(name: str, error: CorpusError) -> str:
    text = one_line(str(error))
    return text if text.startswith(name) else f"{name}: {text}"


def _where(corpus: Corpus) -> str:
    sources = corpus.sources
    if not sources:
        return "mend the manifest; python runner.py check FILE reads it through"
    fetched = "; ".join(f"python runner.py fetch {source} --data DIR" for source in sources)
    return f"--data DIR (or SER_DATA) with its folder; {fetched}"
