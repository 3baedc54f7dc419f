"""Installed packages whose weights we fetch: a hub on loopback serves them, and nothing else is asked for anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.adapters.flextok_cases import stand_in, stand_in_config, stand_in_weights
from tests.adapters.flux2_1d_cases import CONFIG, VAE_CONFIG, core_weights, require_package, tiny_vae
from tests.adapters.seeding import pattern
from tests.weights.server import Server, put_on_hub, put_small_on_hub, sha256
from tokbench.__main__ import main
from tokbench.encodings import Tokens
from tokbench.errors import WeightsError
from tokbench_adapters import flextok, flux2_1d

COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def _hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)


def put_json(server: Server, repo: str, content: dict[str, Any]) -> str:
    """``config.json`` on the hub → its digest."""
    text = json.dumps(content).encode()
    put_small_on_hub(server, repo, "config.json", text, commit=COMMIT)
    return sha256(text)


class TestFlexTok:
    CARD = flextok.CARDS[0]
    REPO = flextok.CARDS[0].hub

    @pytest.fixture(autouse=True)
    def _package(self) -> Iterator[None]:
        with stand_in():
            yield

    def put(self, server: Server, config: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        weights = save(stand_in_weights())
        put_on_hub(server, self.REPO, "model.safetensors", weights, commit=COMMIT)
        return (("config.json", put_json(server, self.REPO, config)), ("model.safetensors", sha256(weights)))

    def test_its_files_are_fetched_and_named_on_the_card(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        digests = self.put(server, stand_in_config())
        first = flextok.load(self.CARD, device="cpu", dtype="float32")
        assert first.card.weights == digests
        encoding = first.encode(pattern(1, 256, 256))
        assert isinstance(encoding, Tokens)
        server.requests.clear()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        second = flextok.load(self.CARD, device="cpu", dtype="float32")
        assert not server.requests
        again = second.encode(pattern(1, 256, 256))
        assert isinstance(again, Tokens)
        assert torch.equal(again.streams[0].indices, encoding.streams[0].indices)

    def test_a_vae_of_its_own_repository_is_fetched_by_us_too(self, server: Server) -> None:
        self.put(server, stand_in_config(hf_hub_path="EPFL-VILAB/flextok_vae_c16"))
        with pytest.raises(WeightsError, match=r"diffusion_pytorch_model\.safetensors of EPFL-VILAB/flextok_vae_c16"):
            flextok.load(self.CARD, device="cpu", dtype="float32")
        put_on_hub(server, "EPFL-VILAB/flextok_vae_c16", flextok.VAE_WEIGHTS, b"weights", commit=COMMIT)
        put_json(server, "EPFL-VILAB/flextok_vae_c16", {"latent_channels": 16})
        tokenizer: Any = flextok.load(self.CARD, device="cpu", dtype="float32")
        folder = Path(tokenizer._model.vae.hf_hub_path)
        assert (folder / flextok.VAE_WEIGHTS).read_bytes() == b"weights"
        assert json.loads((folder / "config.json").read_text()) == {"latent_channels": 16}
        assert "EPFL-VILAB/flextok_vae_c16:config.json" in dict(tokenizer.card.weights)

    def test_a_configuration_that_calls_anything_else_is_refused_before_the_package_sees_it(
        self, server: Server
    ) -> None:
        config = stand_in_config()
        config["pipeline"] = {"_target_": "os.system", "command": "true"}
        self.put(server, config)
        with pytest.raises(WeightsError, match=r"the configuration in EPFL-VILAB/.* would call os\.system"):
            flextok.load(self.CARD, device="cpu", dtype="float32")


class TestFlux2:
    REPO = flux2_1d.CARDS[0].hub
    VAE = "somebody/tiny-vae"

    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        require_package()

    def put(self, server: Server, *, with_config: bool = True) -> dict[str, str]:
        tokens, vae = save(core_weights()), save(tiny_vae(contrast=0.1).state_dict())
        for variant in ("sharp", "base"):
            put_on_hub(server, self.REPO, f"{variant}.safetensors", tokens, commit=COMMIT)
        found = {"base.safetensors": sha256(tokens), f"{self.VAE}:{flextok.VAE_WEIGHTS}": sha256(vae)}
        put_on_hub(server, self.VAE, flextok.VAE_WEIGHTS, vae, commit=COMMIT)
        found[f"{self.VAE}:config.json"] = put_json(server, self.VAE, VAE_CONFIG)
        if with_config:
            found["config.json"] = put_json(server, self.REPO, {**CONFIG, "vae_id": self.VAE})
        return found

    def test_typed_as_a_user_types_it(self, server: Server, photos: Path, tmp_path: Path) -> None:
        digests = self.put(server)
        where = ["--task", "folder", "--data", str(photos), "--size", "256", "--limit", "2", "--lengths", "4"]
        what = ["--tokenizer", "flux2_1d/base", "--metrics", "psnr,bpp", "--device", "cpu"]
        assert main(["run", *what, *where, "--out", str(tmp_path), "--no-report"]) == 0
        (path,) = tmp_path.rglob("result.json")
        result = json.loads(path.read_text())
        assert dict(result["spec"]["tokenizer"]["weights"]) == digests
        assert result["values"]["bpp"]["value"] == CONFIG["num_tokens"] * CONFIG["num_bits"] / 256**2
        assert result["values"]["psnr"]["status"] == "ok"
        asked = {request.path.split("/resolve")[0] for request in server.requests if "storage" not in request.path}
        assert asked == {f"/{self.REPO}", f"/{self.VAE}"}

    def test_without_a_configuration_the_packages_own_values_hold(self, server: Server) -> None:
        self.put(server, with_config=False)
        with pytest.raises(WeightsError, match=r"config\.json of black-forest-labs/FLUX\.2-VAE"):
            flux2_1d.load(flux2_1d.CARDS[0], device="cpu", dtype="float32")
