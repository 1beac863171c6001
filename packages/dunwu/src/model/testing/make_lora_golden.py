"""Adapters of PEFT on the models in golden/, with the logits that PEFT computes: for adapter-folder.test.ts.

    python make_lora_golden.py OUT        each case below, into OUT/<name>

Needs torch 2.13, transformers 5.18 and peft 0.21. CPU, one thread, float32, fixed seeds.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

GOLDEN = pathlib.Path(__file__).parent / "golden"
# name, which is the folder of the base model: the configuration
CASES = {
    # Fused in Dunwu: q and v of qkv_proj without k, up of gate_up_proj without gate.
    "qwen2": dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "up_proj", "self_attn.o_proj"]),
    "qwen3": dict(r=2, lora_alpha=5, target_modules="all-linear"),
    # Attention alone: PEFT 0.21 takes names of the feed-forward of a model with experts for the routed experts.
    "yarn": dict(
        r=2, lora_alpha=3, use_rslora=True,
        target_modules=["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"],
    ),
}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, changes in CASES.items():
        folder = pathlib.Path(sys.argv[1]) / name
        base = GOLDEN / name
        ids = load_file(base / "golden.safetensors")["input_ids"]
        load = lambda: AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
        torch.manual_seed(0)
        # init_lora_weights=False draws B too, so that the adapter does something.
        model = get_peft_model(load(), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **changes))
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if "lora_B" in key:
                    weight.mul_(4)
        model.save_pretrained(folder)
        (folder / "README.md").unlink()
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = name
        config["target_modules"].sort()
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        again = PeftModel.from_pretrained(load(), folder).eval()
        with torch.no_grad():
            logits = again(ids).logits
            plain = load()(ids).logits
        print(name, "largest change of a logit", (logits - plain).abs().max().item(), "of", plain.abs().max().item())
        save_file({"input_ids": ids, "logits": logits.contiguous()}, folder / "golden.safetensors")


if __name__ == "__main__":
    main()
