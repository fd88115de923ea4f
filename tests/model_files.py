"""Stand-ins for real models: whole files in their places, with nothing in them to run."""

import numpy as np
from safetensors.numpy import save_file

from studio.model_places import target
from studio.registry import ModelFolder


def put(home, *models):
    """The models, as if the user had them; gives back where the last one lies."""
    for model in models:
        path = target(home, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(model, ModelFolder):
            for part in (path, *(path / name for name in model.parts)):
                part.mkdir(exist_ok=True)
            index = path / model.index
            index.write_text("{}")
            if index.name == "config.json":
                save_file(
                    {"nothing": np.zeros(1, np.float32)}, index.with_name("model.safetensors")
                )
        else:
            save_file({"nothing": np.zeros(1, np.float32)}, path)
    return path


def variant(family, label):
    return next(one for one in family.variants if one.label == label)


def put_sdxl(home, name):
    """A file with nothing but the name by which SDXL's checkpoints are known."""
    path = home.models / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"conditioner.embedders.1.model.ln_final.weight": np.zeros(1, np.float32)}, path)
    return path
