"""One of several processes that share a transformer's tokens on a CPU: prints how far its velocities are from those of
the same model alone. Argument: the folder of an Animate model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))


def main(animate_folder: str) -> None:
    torch.set_num_threads(1)
    torch.accelerator.device_count = lambda: 1  # diffusers divides by it, and a CPU has none
    from test_memory_options import Animate, Speech

    from wanprep_infer.memory.parallel import divide
    from wanprep_infer.models.s2v_transformer import WanS2VTransformer3DModel

    class SpeechOfTwoHeads(Speech):
        def __init__(self) -> None:
            torch.manual_seed(0)
            self.model = WanS2VTransformer3DModel(
                num_attention_heads=2,
                attention_head_dim=12,
                text_dim=16,
                freq_dim=16,
                ffn_dim=40,
                num_layers=2,
                audio_dim=16,
                audio_inject_layers=(0, 1),
            ).eval()

    torch.distributed.init_process_group("gloo")
    makers = {"animate": lambda: Animate(Path(animate_folder), torch.float32), "s2v": SpeechOfTwoHeads}
    for kind, make in makers.items():
        alone = make().velocities()
        lengths: list[int] = []
        generator = make()
        generator.model.blocks[1].register_forward_hook(
            lambda _, args, out, to=lengths: to.append(out.shape[1])
        )
        divide(generator.model, torch.distributed.get_world_size())
        difference = float((generator.velocities() - alone).abs().max())
        size = float(alone.abs().max())
        print(json.dumps({"kind": kind, "difference": difference, "size": size, "tokens": lengths[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
