"""What the command line says about one start of a study, beside the study itself."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where things lie and what is wanted of a study now."""

    runs: Path
    reports: Path
    data: Path | None = None
    tracking_uri: str | None = None
    only: tuple[str, ...] = ()  # rows to train now; the table shows all
    folds: tuple[int, ...] = ()
    skip_bad_audio: bool = False
    accept_counts: bool = False
    keep_models: str = "none"  # none, best or all
    log_model: bool = False  # to MLflow, that of each row's best fold
    fresh: bool = False  # train what is wanted anew, whatever is there

    @property
    def uri(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_uri or f"sqlite:///{(self.runs / 'mlflow.db').resolve()}"
