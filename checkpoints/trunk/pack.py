"""Write the averaged networks of a learning in 16 bits, or as a prior's tensors in whole numbers.

PYTHONPATH=. python checkpoints/trunk/pack.py FOLDER CHECKPOINT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def packed(folder: Path, checkpoint: Path) -> None:
    """Write the averages of a folder's state in 16 bits."""
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    tensors = {name: value.numpy().astype(np.float16) for name, value in state["averaged"].items()}
    facts = {"shape": json.dumps(state["shape"]), "done": str(state["done"]), "seconds": str(state["seconds"])}
    save_file(tensors, checkpoint, facts)


def unpacked(checkpoint: Path) -> dict[str, Any]:
    """Shape, averages, steps and seconds of a checkpoint."""
    with safe_open(str(checkpoint), framework="numpy") as content:
        facts = content.metadata()
    tensors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in load_file(checkpoint).items()}
    return {
        "shape": json.loads(facts["shape"]),
        "averaged": tensors,
        "done": int(facts["done"]),
        "seconds": float(facts["seconds"]),
    }


if __name__ == "__main__":
    packed(Path(sys.argv[1]), Path(sys.argv[2]))
