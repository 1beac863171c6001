"""A fixture for multi-token prediction: what transformers' MtpModel says, for model/mtp.test.ts.

    python make_golden_mtp.py OUT

Writes a checkpoint of a tiny DeepSeek-V3 with two modules in the released layout (layers behind the last), and
mtp.safetensors: the tokens, and the logits of each depth at every place. Needs torch 2.13 and transformers 5.18. CPU, one
thread, float32, eager attention, fixed seed.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV3Config
from transformers.cache_utils import MtpCache
from transformers.modeling_layers import MtpModel

from make_golden import reshaped_weights

DEPTH, LAYERS, TIME = 2, 2, 14
CONFIG = dict(
    vocab_size=32, hidden_size=16, intermediate_size=24, moe_intermediate_size=8, num_hidden_layers=LAYERS,
    num_attention_heads=2, num_key_value_heads=2, n_shared_experts=1, n_routed_experts=6, num_experts_per_tok=2,
    n_group=2, topk_group=1, first_k_dense_replace=1, routed_scaling_factor=2.5, norm_topk_prob=True, q_lora_rank=8,
    kv_lora_rank=8, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=6, max_position_embeddings=64, rms_norm_eps=1e-6,
    rope_interleave=True, rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=False,
    attention_bias=False, num_nextn_predict_layers=DEPTH, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)


def published(name, tensor, inner):
    """A tensor of module k under the released names: one expert a tensor, gate and up apart."""
    _, k, rest = name.split(".", 2)
    prefix = f"model.layers.{LAYERS + int(k)}."
    rest = rest.removeprefix("mtp_block.").replace("post_norm.weight", "shared_head.norm.weight")
    if rest.endswith("experts.gate_up_proj"):
        for e, both in enumerate(tensor):
            yield f"{prefix}mlp.experts.{e}.gate_proj.weight", both[:inner]
            yield f"{prefix}mlp.experts.{e}.up_proj.weight", both[inner:]
    elif rest.endswith("experts.down_proj"):
        for e, down in enumerate(tensor):
            yield f"{prefix}mlp.experts.{e}.down_proj.weight", down
    else:
        yield prefix + rest, tensor


def main():
    out = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = DeepseekV3Config(**CONFIG)
    main_model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    reshaped_weights(main_model, generator)
    modules = MtpModel(main_model, DEPTH).eval()
    shared = {id(weight) for weight in main_model.parameters()}
    own = torch.nn.ModuleList(modules.layers)
    with torch.no_grad():  # MtpModel leaves the experts as memory was
        for name, weight in sorted(own.named_parameters()):
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.08)
    reshaped_weights(own, generator)
    assert not shared & {id(weight) for weight in own.parameters()}

    tokens = torch.randint(3, 32, (1, TIME), generator=generator)
    seen = []
    hooks = [layer.register_forward_hook(lambda _m, _i, output: seen.append(output)) for layer in modules.layers]
    with torch.no_grad():
        hidden = main_model.model(input_ids=tokens, use_cache=False).last_hidden_state
        # As MTPCandidateGenerator calls it: tokens and positions one place further on than the states.
        modules(
            input_ids=tokens[:, 1:], last_hidden_states=hidden[:, :-1], attention_mask=None,
            position_ids=torch.arange(1, TIME)[None], mtp_cache=MtpCache(config=config.get_mtp_config()),
        )
        # Of module k the last k − 1 places have read what the module before them drafted, and not our tokens.
        logits = {
            f"depth.{k + 1}.logits": main_model.lm_head(output)[:, : TIME - 1 - k].contiguous()
            for k, output in enumerate(seen)
        }
    for hook in hooks:
        hook.remove()

    main_model.save_pretrained(out)
    tensors = load_file(out / "model.safetensors")
    for name, tensor in modules.state_dict().items():
        if name.startswith("layers."):
            tensors.update(published(name, tensor, config.moe_intermediate_size))
    for k in range(DEPTH):
        tensors[f"model.layers.{LAYERS + k}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors[f"model.layers.{LAYERS + k}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    save_file({"input_ids": tokens, **logits}, out / "mtp.safetensors")
    print(json.dumps({name: list(tensor.shape) for name, tensor in logits.items()}))


main()
