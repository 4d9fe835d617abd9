"""LoRAs on the command line and on the disk: PATH[:scale], digests, files that are none."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from wanprep.errors import UsageError  # noqa: E402
from wanprep.models.errors import ModelBroken, ModelMissing  # noqa: E402
from wanprep_infer.lora import Lora  # noqa: E402
from wanprep_infer.lora.files import LoraSettings, find_lora, read_lora  # noqa: E402
from wanprep_infer.lora.keys import entries, plain_name  # noqa: E402


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [
        ("style.safetensors", "style.safetensors", 1.0),
        ("style.safetensors:0.8", "style.safetensors", 0.8),
        ("style.safetensors:-1", "style.safetensors", -1.0),
        ("style.safetensors:.5", "style.safetensors", 0.5),
        ("style.safetensors:1e-1", "style.safetensors", 0.1),
        ("style.safetensors:0", "style.safetensors", 0.0),
        (r"C:\loras\style.safetensors", r"C:\loras\style.safetensors", 1.0),
        (r"C:\loras\style.safetensors:0.5", r"C:\loras\style.safetensors", 0.5),
        ("C:/loras/style.ckpt:2", "C:/loras/style.ckpt", 2.0),
        ("run 12:30/style.safetensors", "run 12:30/style.safetensors", 1.0),
        ("style:v2.safetensors", "style:v2.safetensors", 1.0),
        ("a:1:0.5", "a:1", 0.5),
        ("style:nan", "style:nan", 1.0),
        ("style:inf", "style:inf", 1.0),
        ("style:0x1", "style:0x1", 1.0),
        ("style:1,5", "style:1,5", 1.0),
        ("style:٣", "style:٣", 1.0),
        ("style:1_0", "style:1_0", 1.0),
        ("style: 1", "style: 1", 1.0),
    ],
)
def test_the_last_colon_before_a_number_is_the_scales(text: str, path: str, scale: float) -> None:
    assert Lora.parse(text) == Lora(path, scale)


@given(
    path=st.text(min_size=1).filter(lambda text: text.strip()),
    scale=st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_is_written_is_read(path: str, scale: float) -> None:
    assert Lora.parse(str(Lora(path, scale))) == Lora(path, scale)


@given(st.text())
def test_any_text_is_a_lora_or_one_line(text: str) -> None:
    try:
        lora = Lora.parse(text)
    except UsageError as error:
        assert text in str(error)
    else:
        assert lora.path.strip() and math.isfinite(lora.scale)


@pytest.mark.parametrize(
    ("text", "said"), [("", "has no path"), (":0.5", "has no path"), ("a:1e999", "is too large")]
)
def test_bad_options(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Lora.parse(text)


def written(path: Path, value: float = 1.0, **metadata: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    factors = {"a.lora_A.weight": torch.full((2, 3), value), "a.lora_B.weight": torch.full((3, 2), value)}
    save_file(factors, path, metadata or None)
    return path


def test_the_digest_is_of_content(tmp_path: Path) -> None:
    one, same, other = (
        written(tmp_path / f"{name}.safetensors", value) for name, value in (("a", 1), ("b", 1), ("c", 2))
    )
    digests = [Lora(str(path), scale).digest() for path, scale in ((one, 1), (same, 0.5), (other, 1))]
    assert len(digests[0]) == 32 and digests[0] == digests[1] != digests[2]
    folder = written(tmp_path / "peft" / "adapter_model.safetensors").parent
    (folder / "adapter_config.json").write_text('{"lora_alpha": 4}')
    before = Lora(str(folder)).digest()
    (folder / "adapter_config.json").write_text('{"lora_alpha": 40}')
    (folder / "README.md").write_text("not of it")
    assert Lora(str(folder)).digest() != before


def test_folders_as_peft_and_diffusers_save_them(tmp_path: Path) -> None:
    peft = written(tmp_path / "peft" / "adapter_model.safetensors")
    written(tmp_path / "peft" / "other.safetensors")
    diffusers = written(tmp_path / "diffusers" / "pytorch_lora_weights.safetensors")
    alone = written(tmp_path / "alone" / "style.safetensors")
    for weights in (peft, diffusers, alone):
        assert find_lora(str(weights.parent)).weights == weights
    written(tmp_path / "alone" / "second.safetensors")
    with pytest.raises(ModelMissing, match=r"a folder with 2 \.safetensors files"):
        find_lora(str(tmp_path / "alone"))


def test_a_scale_that_is_no_number_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "style.safetensors")
    with pytest.raises(ModelMissing, match="'strong' after the colon is no number"):
        find_lora(f"{path}:strong")


def test_diffusers_metadata_counts(tmp_path: Path) -> None:
    config = {"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"blocks.0.ffn.net.2": 2}}
    path = written(tmp_path / "l.safetensors", lora_adapter_metadata=json.dumps(config))
    _, settings = read_lora(find_lora(str(path)))
    assert settings.factor("blocks.1.ffn.net.2", 4, None) == 2
    assert settings.factor("blocks.0.ffn.net.2", 4, None) == 0.5
    assert settings.factor("blocks.0.ffn.net.2", 4, 12.0) == 3, "the file's own alpha goes first"


@given(rank=st.integers(1, 512), alpha=st.floats(0, 1e3))
def test_factors(rank: int, alpha: float) -> None:
    assert LoraSettings().factor("a", rank, None) == 1
    assert LoraSettings(alpha=alpha).factor("a", rank, None) == alpha / rank
    assert LoraSettings(alpha=alpha, by_root=True).factor("a", rank, None) == alpha / math.sqrt(rank)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._trace,))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "was run"
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"a": Evil(trace)}}, path)
    old = tmp_path / "old.pt"
    old.write_bytes(pickle.dumps({"a": Evil(trace)}, protocol=2))
    pickle.loads(old.read_bytes())
    assert trace.exists(), "it does run where nothing stops it"
    trace.unlink()
    for each in (path, old):
        with pytest.raises(ModelBroken):
            read_lora(find_lora(str(each)))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{", "is no safetensors file"),
        ("text.ckpt", b"hello", "is no file of tensors"),
        ("notes.txt", b"hello", "LoRAs are read from .safetensors"),
        ("empty.pt", b"", "is no file of tensors"),
    ],
)
def test_files_that_are_no_lora(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelBroken, match=said) as error:
        read_lora(find_lora(str(tmp_path / name)))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_of_other_things(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1), "step": 3}}, tmp_path / "l.ckpt")
    with pytest.raises(ModelBroken, match="is no mapping of names to tensors"):
        read_lora(find_lora(str(tmp_path / "l.ckpt")))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"lora_alpha": "much"}', "alpha is no number"),
        ('{"use_dora": true}', "DoRA"),
    ],
)
def test_bad_configs(config: str, said: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "peft" / "adapter_model.safetensors").parent
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(ModelBroken, match=said):
        read_lora(find_lora(str(folder)))


_MODULES = st.builds(
    lambda block, layer: f"blocks.{block}.{layer}",
    st.integers(0, 39),
    st.sampled_from(
        [
            *(f"{kind}_attn.{layer}" for kind in ("self", "cross") for layer in "qkvo"),
            *("cross_attn.k_img", "cross_attn.v_img", "ffn.0", "ffn.2"),
        ]
    ),
) | st.sampled_from(
    [
        "head.head",
        "text_embedding.0",
        "time_embedding.2",
        "time_projection.1",
        "img_emb.proj.1",
        "patch_embedding",
    ]
)


@given(
    module=_MODULES,
    prefix=st.sampled_from(
        [
            "",
            "diffusion_model.",
            "base_model.model.",
            "base_model.model.diffusion_model.",
            "transformer.",
            "flat",
        ]
    ),
    suffix=st.sampled_from([("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up")]),
    adapter=st.sampled_from(["", ".default", ".relighting"]),
)
def test_every_writing_means_the_same_module(
    module: str, prefix: str, suffix: tuple[str, str], adapter: str
) -> None:
    name = f"lora_unet_{module.replace('.', '_')}" if prefix == "flat" else prefix + module
    assert plain_name(name) == module
    down, up = torch.zeros(1, 1), torch.ones(1, 1)
    tensors = {f"{name}.{suffix[0]}{adapter}.weight": down, f"{name}.{suffix[1]}{adapter}.weight": up}
    found, left = entries({**tensors, f"{name}.alpha": torch.tensor(2.0)}, "LoRA x")
    assert not left and found.keys() == {module}
    assert found[module].down is down and found[module].up is up and found[module].alpha == 2
