"""The ways onto a cluster: the Slurm script between stand-ins, the manifest against its schemas."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from ablation.arguments import parse

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "ablation" / "deploy"

# What Slurm's commands and Ray's do, as far as the script knows; each notes what it was asked.
STAND_INS = {
    "scontrol": """
        case "$2" in
            hostnames) echo a; echo b; echo c ;;
            *) echo "NodeName=$4 Arch=x86_64 NodeAddr=127.0.0.$(printf %d "'$4") Port=1" ;;
        esac
        """,
    "srun": """
        echo "srun $*" | head -n 1 >>"$NOTES/asked"
        while [ "${1#--}" != "$1" ]; do shift; done
        SLURM_CPUS_ON_NODE=8 SLURM_GPUS_ON_NODE=2 exec "$@"
        """,
    "scancel": """
        echo "scancel $*" >>"$NOTES/asked"
        kill -TERM $(cat "$NOTES/nodes")
        """,
    "python": """
        case "$1" in
            -c) exec "$REAL" "$@" ;;
            -m) echo $$ >>"$NOTES/nodes"
                echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >>"$NOTES/tokens"
                echo "ray $*" >>"$NOTES/asked"
                exec "$REAL" "$NOTES/ray.py" "$@" ;;
            *) echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >>"$NOTES/tokens"
                echo "$*" >>"$NOTES/asked"
                while [ "$(wc -l <"$NOTES/nodes")" -lt 3 ]; do sleep 0.05; done
                eval "$RUNNER" ;;
        esac
        """,
}
RAY = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
words = sys.argv
if "--head" in words:
    listening = socket.create_server((words[words.index("--node-ip-address") + 1],
                                      int(words[words.index("--port") + 1])))
time.sleep(60)
"""


@pytest.fixture
def submitted(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script as Slurm would on the first of three nodes."""
    (tmp_path / "ray.py").write_text(RAY)
    for name, text in STAND_INS.items():
        path = tmp_path / name
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)

    def run(*words: str, runner: str = "exit 0") -> subprocess.CompletedProcess[str]:
        variables = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "NOTES": str(tmp_path),
            "REAL": sys.executable,
            "RUNNER": runner,
            "SLURM_JOB_ID": f"test{os.getpid()}",
            "SLURM_JOB_NODELIST": "[a-c]",
        }
        command = ["bash", str(DEPLOY / "slurm.sh"), *words]
        return subprocess.run(
            command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    return run


def asked(folder: Path, of: str) -> list[str]:
    lines = (folder / "asked").read_text().splitlines()
    return [line.removeprefix(of).strip() for line in lines if line.startswith(of)]


def test_slurm_starts_a_head_joins_the_others_and_hands_the_words_on(submitted, tmp_path):
    ended = submitted("grids/my study.yaml", "--data", "d")
    assert (ended.returncode, ended.stderr) == (0, "")
    steps = asked(tmp_path, "srun")
    assert [re.search(r"--nodelist=(\w)", step)[1] for step in steps] == ["a", "b", "c"]
    head, *others = sorted(asked(tmp_path, "ray"), key=lambda line: "--head" not in line)
    port = re.search(r"--head --port (\d+) --node-ip-address 127.0.0.97 ", head)[1]
    for host, line in zip((98, 99), sorted(others), strict=True):
        assert line.endswith(f"--address 127.0.0.97:{port} --node-ip-address 127.0.0.{host}")
    assert all("--num-cpus 8 --num-gpus 2" in line for line in (head, *others))
    (words,) = asked(tmp_path, "runner.py")
    assert words == f"grids/my study.yaml --data d --address 127.0.0.97:{port}"
    assert asked(tmp_path, "scancel") == [f"--signal=TERM test{os.getpid()}"]
    assert not Path(f"/tmp/ser-test{os.getpid()}").exists()


def test_slurm_s_ray_asks_for_a_token_of_the_job_that_no_command_line_shows(submitted, tmp_path):
    submitted("g.yaml")
    (tmp_path / "nodes").unlink()
    submitted("g.yaml")
    tokens = (tmp_path / "tokens").read_text().splitlines()
    assert len(tokens) == 8
    assert all(re.fullmatch(r"token [0-9a-f]{64}", line) for line in tokens)
    assert len(set(tokens)) == 2  # one a job, the same on its nodes and for its runner
    shown = (tmp_path / "asked").read_text()
    assert not any(line.split()[1] in shown for line in tokens)


def test_slurm_s_job_ends_as_the_runner_does(submitted):
    assert submitted("g.yaml", runner="exit 2").returncode == 2


def test_before_the_time_limit_the_runner_is_told_and_waited_for(submitted, tmp_path):
    runner = """
        trap 'echo stopped >"$NOTES/stopped"; exit 130' TERM
        kill -TERM $PPID
        while :; do sleep 0.05; done
        """
    assert submitted("g.yaml", runner=runner).returncode == 130
    assert (tmp_path / "stopped").exists()
    assert asked(tmp_path, "scancel")


def test_a_head_that_does_not_start_ends_the_job_with_the_place_of_its_log(submitted, tmp_path):
    (tmp_path / "ray.py").write_text("raise SystemExit('no memory')")
    ended = submitted("g.yaml")
    assert ended.returncode == 1
    log = f"slurm-test{os.getpid()}.ray.log"
    assert ended.stderr.startswith(f"Ray must start on a within 300 s; see {log}")
    assert "no memory" in (tmp_path / log).read_text()
    assert asked(tmp_path, "runner.py") == []


# The RayJob of KubeRay 1.2, as far as the manifest goes: names of fields from its API reference.
# Pods are Kubernetes' own, and judged by its own schema.
TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
POD = {"type": "object", "required": ["spec"]}
PARAMETERS = {"type": "object", "additionalProperties": TEXT}


def holding(required: tuple[str, ...], **fields: object) -> dict[str, Any]:
    """An object of these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


HEAD = holding(
    ("rayStartParams", "template"),
    serviceType={"enum": ["ClusterIP"]},  # others would serve beyond the cluster
    rayStartParams=PARAMETERS,
    template=POD,
)
WORKERS = holding(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=PARAMETERS,
    template=POD,
)
CLUSTER = holding(
    ("headGroupSpec", "workerGroupSpecs"),
    rayVersion=TEXT,
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKERS, "minItems": 1},
)
RAY_JOB = holding(
    ("entrypoint", "rayClusterSpec"),
    entrypoint=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode"]},
    backoffLimit=COUNT,
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=CLUSTER,
)


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, Any]]:
    """Its documents by kind."""
    text = (DEPLOY / "kuberay.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def pods(manifest: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The templates of the head and of each group of workers."""
    cluster = manifest["RayJob"]["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_ray_job_has_the_operator_s_fields_and_no_others(manifest):
    job = manifest["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    jsonschema.Draft202012Validator(RAY_JOB).validate(job["spec"])


def test_pods_claim_and_policy_keep_to_kubernetes_own_schema(manifest):
    documents = [manifest["PersistentVolumeClaim"], manifest["NetworkPolicy"]]
    documents += [{"apiVersion": "v1", "kind": "Pod", **template} for template in pods(manifest)]
    for document in documents:
        kubernetes_validate.validate(document, "1.32", strict=True)


def test_the_names_of_the_manifest_agree(manifest):
    claim = manifest["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    chosen = manifest["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    images = set()
    for template in pods(manifest):
        assert template["metadata"]["labels"] == chosen
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = template["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == volumes.keys()
        variables = {item["name"]: item["value"] for item in container["env"]}
        assert variables["SER_CACHE"] == mounts["cache"]
        assert variables["HF_HOME"].startswith(mounts["shared"] + "/")
        assert not any(re.search("TOKEN|SECRET|PASSWORD", name) for name in variables)
        images.add(container["image"])
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    (image,) = images
    assert f"-t {image} ." in dockerfile
    version = manifest["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"FROM rayproject/ray:{version}-" in dockerfile
    assert f"'ray=={version}'" in dockerfile


def test_the_operator_alone_reaches_the_pods_and_only_where_it_submits(manifest):
    head = pods(manifest)[0]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    own, operator = manifest["NetworkPolicy"]["spec"]["ingress"]
    assert own == {"from": [{"podSelector": manifest["NetworkPolicy"]["spec"]["podSelector"]}]}
    assert [port["port"] for port in operator["ports"]] == [ports["dashboard"]]


def test_the_runner_understands_what_the_ray_job_asks_of_it(manifest):
    python, runner, *words = manifest["RayJob"]["spec"]["entrypoint"].split()
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    place = Path(re.search(r"^WORKDIR (.*)$", dockerfile, re.MULTILINE)[1])
    assert (python, Path(runner)) == ("python", place / "runner.py")
    verb, options = parse(words)
    assert verb == "run"
    assert (ROOT / options.grid.relative_to(place)).is_file()
    assert options.address == "auto"
    for folder in (options.data, options.runs, options.reports):
        assert folder.is_relative_to("/shared")


def test_the_image_holds_all_that_a_run_reads():
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        word
        for line in re.findall(r"^COPY \S+ (.*) \S+$", dockerfile, re.MULTILINE)
        for word in line.split()
    }
    assert copied >= {"runner.py", "pyproject.toml", "ablation", "core", "grids"}
    assert [name for name in copied if not (ROOT / name).exists()] == []
