"""docs/external.md: its code runs, its descriptions are read, and it names every key there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from tests.adapters.external_cases import images, opened
from tokbench.encodings import Latents
from tokbench.errors import TokenizerError
from tokbench.tokenizers import load_tokenizer
from tokbench_adapters._external import description
from tokbench_adapters._external.description import read_description

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "external.md").read_text()

# The upstream names that the page calls, with known answers in place of a network.
UPSTREAM = """
import torch

class VTPModel:
    @classmethod
    def from_pretrained(cls, path):
        print("loading", path)
        return cls()

    def eval(self):
        return self

    def to(self, device):
        return self

    def get_reconstruction_latents(self, image):
        assert not torch.is_grad_enabled()
        return image * 2

    def get_latents_decoded_images(self, latents):
        return latents / 2
"""


def block(language: str, holding: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [text for kind, text in blocks if kind == language and holding in text]
    return str(found)


def test_the_wrapper_of_vtp_runs_as_it_is_printed(tmp_path: Path) -> None:
    package = tmp_path / "VTP" / "vtp" / "models" / "vtp_hf"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(UPSTREAM)
    weights = tmp_path / "VTP-Large-f16d64"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "serve_vtp.py").write_text(block("python", "VTPModel"))
    described = block("toml", "VTP-Large").replace("/path/to/vtp-environment/bin/python", "{python}")
    (tmp_path / "vtp.toml").write_text(described.replace("fixed_size_px = 256", "fixed_size_px = 16"))
    tokenizer = load_tokenizer(f"external:{tmp_path / 'vtp.toml'}", device="cpu")
    encoding = tokenizer.encode(images())
    mean, deviation = (torch.tensor(three)[:, None, None] for three in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    assert isinstance(encoding, Latents)
    assert torch.allclose(encoding.values, 2 * (images() - mean) / deviation, atol=1e-5)
    assert torch.allclose(tokenizer.decode(encoding, seeds=[0] * 3), images(), atol=1e-6)
    assert set(dict(tokenizer.card.weights)) == {"vtp.toml", "serve_vtp.py", "VTP-Large-f16d64/model.safetensors"}


def test_the_wrapper_is_about_twenty_lines() -> None:
    lines = [line for line in block("python", "VTPModel").splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_commands_run_once_a_batch_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\nlatent = "codec"\n' + block("toml", "{input}"))
    program = read_description(path).program
    assert program.timeout_s == 1200
    assert program.encode == (str(tmp_path / "bin/python"), f"{tmp_path}/encode.py", "{input}", "{output}")


@pytest.mark.parametrize("line", block("toml", "conda").splitlines())
def test_other_environments_commands_are_read(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f'name = "x"\nlatent = "codec"\n[run]\n{line}\n')
    assert read_description(path).program.serve[0] == tomllib.loads(line)["command"][0]


def test_every_key_is_explained() -> None:
    tables = (description._CARD, description._RUN, description._QUANTISER)
    keys = [key for table in tables for key in table]
    assert not [key for key in keys if f"`{key}`" not in PAGE]


def test_the_example_of_the_protocol_is_the_protocol() -> None:
    from tokbench_adapters._external.pipe import MARK, PROTOCOL

    said = block("", '"hello"').splitlines()
    assert said[0] == f'{{"id": 1, "do": "hello", "protocol": {PROTOCOL}}}'
    assert all(line.startswith(MARK.decode()) for line in said[1::2])


UNAIDED = """
import json, sys
import numpy as np

for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["do"] == "hello":
        answer["protocol"] = 1
    elif request["do"] == "encode":
        np.save(request["output"] + "/latents.npy", np.load(request["input"] + "/images.npy"))
    else:
        answer["error"] = "out of memory"
    print("talk")
    print("@tokbench " + json.dumps(answer), flush=True)
"""


def test_a_program_without_the_helper_is_driven_by_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "unaided.py").write_text(UNAIDED)
    tokenizer = opened(tmp_path, "latents", run={"command": ["{python}", "unaided.py"]})
    encoding = tokenizer.encode(images())
    assert isinstance(encoding, Latents)
    assert torch.equal(encoding.values, images())
    with pytest.raises(TokenizerError, match="decode failed in the program: out of memory"):
        tokenizer.decode(encoding, seeds=[0] * 3)
