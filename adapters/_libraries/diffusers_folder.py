"""Autoencoders as diffusers stores them (``config.json`` beside its weights): fetched, built by the library, filled."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import MissingExtraError, UsageError, WeightsError
from tokbench.weights.hub import NoSuchFileError
from tokbench.weights.loading import read_state_dict
from tokbench_adapters._libraries.former_names import present_names, siglip_of_before
from tokbench_adapters._reading.hub_weights import fill
from tokbench_adapters._reading.places import Place

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PICKLED = "diffusion_pytorch_model.bin"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A library's network.

    Attributes:
        card: with the digests of the files that were read.
        class_name: which class of the library it is.
        config: what ``config.json`` says.
        network: filled, float32, on the CPU, in evaluation mode and without gradients.
    """

    card: TokenizerCard
    class_name: str
    config: Mapping[str, Any]
    network: Any


def read_autoencoder(
    card: TokenizerCard, classes: Mapping[str, str], *, subfolder: str = "", folder: Path | None = None
) -> Opened:
    """Build what ``config.json`` names and give it its weights, all of them and nothing else.

    Args:
        card: ``hub`` is ``ORG/REPO@REVISION`` or ``ORG/REPO``; ``weights`` pins digests by path in the repository.
        classes: the classes that are wanted, and the module each is imported from.
        subfolder: where in the repository or folder the files lie.
        folder: read from this folder of the user's instead of the hub.

    Raises:
        UsageError: the configuration names none of the classes.
        WeightsError: a file cannot be had or would run code; an entry is missing, left over or of another shape.
        MissingExtraError: the installed diffusers is too old for the class.
    """
    place = Place(card=card, subfolder=subfolder, folder=folder)
    config = _read_config(place)
    class_name = str(config.get("_class_name", "nothing"))
    if class_name not in classes:
        raise UsageError(
            f"{place} holds {class_name}, which is none of the autoencoders this reads: {', '.join(sorted(classes))}"
        )
    network = build_network(class_name, classes[class_name], config, source=str(place))
    tensors, card = _read_tensors(place)
    tensors = present_names(tensors, network)
    ignored = tuple(network._keys_to_ignore_on_load_unexpected or ())
    fill(network, tensors, source=str(place), unused=lambda key: any(re.search(pattern, key) for pattern in ignored))
    return Opened(card=card, class_name=class_name, config=config, network=network)


def ignored_options(opened: Opened) -> tuple[str, ...]:
    """Names in a configuration that the installed library does not know, so that they change nothing."""
    return tuple(key for key in opened.config if key not in opened.network.config and not key.startswith("_"))


def _read_tensors(place: Place) -> tuple[dict[str, torch.Tensor], TokenizerCard]:
    """The tensors of all files of weights, and the card with the digests of what was read.

    Raises:
        WeightsError: there are none, or one cannot be had, would run code or is damaged.
    """
    name = place.first_there((WEIGHTS, INDEX, PICKLED))
    files = tuple(sorted(set(place.read_index(INDEX).values()))) if name == INDEX else (name,)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        found = read_state_dict(place.path(file), "state_dict" if file == PICKLED else "safetensors")
        if twice := tensors.keys() & found.keys():
            raise WeightsError(f"{place} has {min(twice)} in two of its files, the second being {file}")
        tensors |= found
    return tensors, place.with_digests((CONFIG, *files))


def _read_config(place: Place) -> dict[str, Any]:
    try:
        return place.read_json(CONFIG)
    except NoSuchFileError as err:
        raise NoSuchFileError(
            f"{err}; where a pipeline keeps its autoencoder in a folder, name that too (`{place}/vae`)"
        ) from err


def build_network(class_name: str, module: str, config: Mapping[str, Any], *, source: str) -> Any:
    """The network of a configuration on the CPU, its parameters not yet written, its constants computed.

    Raises:
        MissingExtraError: the installed library does not have the class.
        WeightsError: the class does not accept the configuration.
    """
    import diffusers
    from diffusers.models.modeling_utils import no_init_weights

    kind = getattr(importlib.import_module(module), class_name, None)
    if kind is None:
        raise MissingExtraError(
            f"{source} needs {class_name}, which diffusers {diffusers.__version__} does not have; "
            "`pip install -U diffusers` gets a newer one"
        )
    options = {key: value for key, value in config.items() if key in _options_of(kind)}
    try:
        with no_init_weights(), siglip_of_before(options):
            return kind.from_config(options)
    except AttributeError as err:
        raise MissingExtraError(
            f"{source}: {class_name} of diffusers {diffusers.__version__} does not fit the other packages installed: "
            f"{err}; another release of diffusers or transformers may"
        ) from err
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, RuntimeError) as err:
        raise WeightsError(f"{source}: {class_name} does not accept its {CONFIG}: {err}") from err


def _options_of(kind: type) -> frozenset[str]:
    return frozenset(inspect.signature(kind).parameters)
