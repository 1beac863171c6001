"""Parity fixtures: tiny models of transformers with what they compute, for `dunwu verify`.

    python make_golden.py OUT               every variant below, each into OUT/<name>
    python make_golden.py OUT yarn tied     only these
    python make_golden.py OUT --list        what there is

Needs torch 2.13 and transformers 5.18. CPU, one thread, float32, eager attention and experts, fixed seeds: a second run
gives the same bytes. The layout is described in docs/verify.md.
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

BASE = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1, n_routed_experts=8, num_experts_per_tok=2,
    n_group=2, topk_group=1, first_k_dense_replace=1, routed_scaling_factor=2.5, norm_topk_prob=True, q_lora_rank=24,
    kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, max_position_embeddings=256,
    rms_norm_eps=1e-6, rope_interleave=True, rope_parameters=dict(rope_type="default", rope_theta=10000.0),
    tie_word_embeddings=False, attention_bias=False, num_nextn_predict_layers=0,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
DENSE = dict(
    vocab_size=48, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=10000.0),
    tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
V2 = {key: value for key, value in BASE.items() if key not in ("rope_interleave", "num_nextn_predict_layers")}
V2.update(topk_method="group_limited_greedy", norm_topk_prob=False)
FAMILIES = dict(deepseek_v3=BASE, deepseek_v2=V2, qwen2=DENSE, qwen3=DENSE, llama=DENSE)
LLAMA3 = dict(
    rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(
    rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1,
    mscale=0.7, mscale_all_dim=1.0,
)
PARTS = ("full", "padded", "greedy", "adamw5", "adamw5.param")

# name: (changes to the family's base, how it is made)
VARIANTS = {
    "base": ({}, {}),
    # These two are in the repository beside this script, in golden/: small, and each with several things at once.
    "no-q-compression": (
        dict(q_lora_rank=None, n_group=1, topk_group=1, tie_word_embeddings=True, norm_topk_prob=False,
             rope_interleave=False, vocab_size=48, hidden_size=24, intermediate_size=32, moe_intermediate_size=12,
             n_routed_experts=6),
        dict(parts=("full", "greedy", "adamw5")),
    ),
    "yarn": (
        dict(rope_parameters=YARN, attention_bias=True, n_routed_experts=6, n_group=3, topk_group=2,
             num_experts_per_tok=3, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=12,
             vocab_size=48, hidden_size=20, intermediate_size=32, moe_intermediate_size=8),
        dict(parts=("full", "padded", "greedy", "adamw5")),
    ),
    # Of other families. The first of each is in the repository too.
    "qwen3": (
        dict(head_dim=12, num_hidden_layers=2, tie_word_embeddings=True),
        dict(family="qwen3", parts=("full", "padded", "greedy", "adamw5")),
    ),
    "qwen3-bias": (dict(head_dim=16, attention_bias=True, num_key_value_heads=4), dict(family="qwen3")),
    "qwen2": (
        dict(num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3, hidden_size=36, tie_word_embeddings=True),
        dict(family="qwen2", parts=("full", "padded", "greedy", "adamw5")),
    ),
    "qwen2-yarn": (
        dict(rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                  original_max_position_embeddings=64)),
        dict(family="qwen2"),
    ),
    "qwen2-untied": (dict(num_key_value_heads=1), dict(family="qwen2")),
    "llama3": (
        dict(rope_parameters=LLAMA3, num_key_value_heads=1, head_dim=16, num_hidden_layers=2),
        dict(family="llama", parts=("full", "padded", "greedy", "adamw5")),
    ),
    "llama3-long": (dict(rope_parameters=LLAMA3), dict(family="llama", time=240)),
    "llama-bias": (dict(attention_bias=True, mlp_bias=True, num_key_value_heads=4), dict(family="llama")),
    "deepseek-v2": (
        dict(vocab_size=48, hidden_size=24, num_hidden_layers=2, n_routed_experts=6, n_group=3, topk_group=2,
             num_experts_per_tok=3, moe_intermediate_size=8, q_lora_rank=12),
        dict(family="deepseek_v2", parts=("full", "padded", "greedy", "adamw5")),
    ),
    "deepseek-v2-lite": (
        dict(q_lora_rank=None, topk_method="greedy", n_group=1, topk_group=1, routed_scaling_factor=1.0,
             n_shared_experts=2, rope_parameters=dict(YARN, mscale=0.707, mscale_all_dim=0.707)),
        dict(family="deepseek_v2"),
    ),
    "tied": (dict(tie_word_embeddings=True), {}),
    "yarn-plain": (
        dict(rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                  original_max_position_embeddings=64)), {},
    ),
    "yarn-long": (dict(rope_parameters=dict(YARN, mscale=1.0), qk_rope_head_dim=16), dict(time=240)),
    "yarn-exact-range": (dict(rope_parameters=dict(YARN, truncate=False), qk_rope_head_dim=16), {}),
    "long": (dict(qk_rope_head_dim=16), dict(time=240)),
    "groups": (dict(n_routed_experts=16, n_group=4, topk_group=2, num_experts_per_tok=4), {}),
    "heads": (dict(num_attention_heads=3, num_key_value_heads=3, qk_nope_head_dim=12, qk_rope_head_dim=6,
                   v_head_dim=10, kv_lora_rank=20, q_lora_rank=18), {}),
    "bias": (dict(attention_bias=True), {}),
    "bias-no-q-compression": (dict(attention_bias=True, q_lora_rank=None), {}),
    "half-rope": (dict(rope_interleave=False), {}),
    "unnormalised": (dict(norm_topk_prob=False, routed_scaling_factor=1.0), {}),
    "top-1": (dict(num_experts_per_tok=1), {}),
    "all-experts": (dict(n_group=1, topk_group=1, num_experts_per_tok=8), {}),
    "shared-2": (dict(n_shared_experts=2), {}),
    "no-shared": (dict(n_shared_experts=0), {}),
    "wide": (
        dict(hidden_size=256, intermediate_size=512, moe_intermediate_size=128, num_hidden_layers=6, vocab_size=2000,
             num_attention_heads=8, num_key_value_heads=8, kv_lora_rank=64, q_lora_rank=96, qk_nope_head_dim=32,
             qk_rope_head_dim=16, v_head_dim=32, max_position_embeddings=512),
        dict(time=128, parts=("full", "padded", "greedy", "adamw5")),
    ),
    "all-moe": (dict(first_k_dense_replace=0), {}),
    "all-dense": (dict(first_k_dense_replace=5), {}),
    "eps-theta": (dict(rms_norm_eps=1e-3, rope_parameters=dict(rope_type="default", rope_theta=500.0)), {}),
    "mtp-config": (dict(num_nextn_predict_layers=1), {}),
    "pad-in-text": ({}, dict(pad_in_text=True)),
    "pad-in-text-tied": (dict(tie_word_embeddings=True), dict(pad_in_text=True)),
    "eos-list": (dict(eos_token_id=[2, 3, 40], pad_token_id=None), {}),
    "label-after-padding": ({}, dict(label_after_padding=True)),
    "bf16": ({}, dict(store="bfloat16")),
    "sharded": ({}, dict(shard="20KB")),
    "only-logits": ({}, dict(parts=("full",), keep=("input_ids", "full.logits"))),
    "only-router": ({}, dict(parts=("full",), keep=("input_ids", "full.router.0.topk_idx_sorted"))),
    "only-greedy": ({}, dict(parts=("greedy",), keep=("greedy.prompt8_new16",))),
    "only-padded": ({}, dict(parts=("padded",))),
    "only-loss": ({}, dict(parts=("full",), keep=("input_ids", "full.loss"))),
}


def reshaped_weights(model, generator):
    """Default weights are too small to tell anything: norms near 1, gates and biases that matter, the rest × 4."""

    def normal(tensor, std):
        return torch.randn(tensor.shape, generator=generator) * std

    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if "norm" in name:
                weight += normal(weight, 0.1)
            elif name.endswith(".bias"):
                weight.copy_(normal(weight, 0.05))
            elif name.endswith("mlp.gate.weight"):
                weight.copy_(normal(weight, 0.3))
            else:
                weight *= 4
        for name, buffer in sorted(model.named_buffers()):
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(normal(buffer, 0.1))


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def run(model, prefix, tensors, ids, labels, mask=None):
    """One forward and backward pass with everything that it computed on the way."""
    seen = []
    gates = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    hooks = [gate.register_forward_hook(lambda _m, _i, output: seen.append(output)) for gate in gates]
    model.zero_grad(set_to_none=True)
    output = model(input_ids=ids, attention_mask=mask, labels=labels, output_hidden_states=True, use_cache=False)
    for hook in hooks:
        hook.remove()
    output.loss.backward()
    tensors[f"{prefix}.logits"] = output.logits
    tensors[f"{prefix}.loss"] = output.loss.reshape(1)
    for i, hidden in enumerate(output.hidden_states):
        tensors[f"{prefix}.hidden.{i}"] = hidden
    for name, gradient in gradients(model).items():
        tensors[f"{prefix}.grad.{name}"] = gradient
    for i, (logits, weights, chosen) in enumerate(seen):
        order = chosen.argsort(-1)
        tensors[f"{prefix}.router.{i}.logits"] = logits
        tensors[f"{prefix}.router.{i}.topk_idx_sorted"] = chosen.gather(1, order)
        tensors[f"{prefix}.router.{i}.topk_weights_sorted"] = weights.gather(1, order)


def five_steps(model, ids):
    recipe = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), **recipe)
    losses, norms = [], []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    return dict(losses=losses, preclip_global_grad_norms=norms, **recipe, clip=1.0)


def make(folder, changes, family="deepseek_v3", parts=PARTS, time=24, keep=None, store="float32", shard=None, pad_in_text=False,
         label_after_padding=False):
    torch.manual_seed(1234)
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **changes})
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    weights = torch.Generator().manual_seed(1234)
    reshaped_weights(model, weights)
    folder.mkdir(parents=True, exist_ok=True)
    saved = {} if shard is None else {"max_shard_size": shard}
    if store == "float32":
        model.save_pretrained(folder, **saved)
    else:
        # The reference computes in float32 with the rounded weights, as somebody does who loads the file.
        model.to(getattr(torch, store)).save_pretrained(folder, **saved)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        ).eval()

    inputs = torch.Generator().manual_seed(1235)
    ids = torch.randint(4, config.vocab_size, (2, time), generator=inputs)
    if pad_in_text:
        ids[0, 3] = ids[1, 5] = ids[1, 6] = config.pad_token_id
    tensors, record = {"input_ids": ids}, {"input_ids": ids.tolist()}
    if "full" in parts:
        run(model, "full", tensors, ids, ids)
    if "padded" in parts:
        mask = torch.ones_like(ids)
        mask[0, :5] = 0
        labels = ids.masked_fill(mask == 0, -100)
        if not label_after_padding:
            labels[:, 5:10] = -100
        run(model, "padded", tensors, ids, labels, mask)
        tensors["padded.attention_mask"], tensors["padded.labels"] = mask, labels
    if "greedy" in parts:
        tensors["greedy.prompt8_new16"] = model.generate(
            ids[:, :8], attention_mask=torch.ones_like(ids[:, :8]), do_sample=False, min_new_tokens=16,
            max_new_tokens=16, pad_token_id=0,
        )
    if "adamw5" in parts:
        record["adamw5"] = five_steps(model, ids)
        if "adamw5.param" in parts:
            for name, weight in model.named_parameters():
                tensors[f"adamw5.param.{name}"] = weight
    if keep is not None:
        tensors = {name: tensor for name, tensor in tensors.items() if name in keep}
    about = {"transformers": transformers.__version__, "torch": torch.__version__}
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in sorted(tensors.items())}
    save_file(whole, folder / "golden.safetensors", metadata=about)
    (folder / "golden.json").write_text(json.dumps(record))
    assert load_file(folder / "golden.safetensors").keys() == whole.keys()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("names", nargs="*", metavar="name")
    arguments.add_argument("--list", action="store_true")
    given = arguments.parse_args()
    if given.list:
        print("\n".join(VARIANTS))
        return
    unknown = set(given.names) - set(VARIANTS)
    if unknown:
        arguments.error(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in given.names or VARIANTS:
        changes, how = VARIANTS[name]
        make(given.out / name, changes, **how)
        size = sum(file.stat().st_size for file in (given.out / name).iterdir())
        print(f"{name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
