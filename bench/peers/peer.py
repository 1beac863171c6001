"""A peer of the bench: transformers (training, generation) or TRL (grpo) on the same weights, inputs and sizes as ours.

Started by bench.mjs, which talks with it in JSON lines over standard input and output (lib/contestant.mjs):
    python peer.py WORK SETTING FOLDER THREADS DEVICE      WORK: training, generation, grpo; SETTING: default, tuned, bf16
FOLDER holds the model's folder, model/, and inputs.json.
"""

import json
import os
import signal
import sys
import time

# Libraries print to standard output; only this file's messages may go there.
channel = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
signal.signal(signal.SIGINT, signal.SIG_IGN)  # bench.mjs ends us
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", WANDB_DISABLED="true", TRL_EXPERIMENTAL_SILENCE="1")

import torch  # noqa: E402
import transformers  # noqa: E402

work, setting, folder, threads, device = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
with open(os.path.join(folder, "inputs.json")) as file:
    inputs = json.load(file)

torch.set_num_threads(threads)
torch.manual_seed(0)
if setting == "tuned":
    torch.set_float32_matmul_precision("medium")  # on CPUs without AMX: oneDNN instead of MKL, at float32 accuracy
with open(os.path.join(folder, "model", "config.json")) as file:
    config = json.load(file)
# Training in bfloat16 is autocast over float32 weights; for generation the weights themselves are bfloat16.
model = transformers.AutoModelForCausalLM.from_pretrained(
    os.path.join(folder, "model"),
    config=transformers.AutoConfig.for_model(**config),
    dtype=torch.bfloat16 if setting == "bf16" and work == "generation" else torch.float32,
).to(device)


def say(message):
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def finish():
    """Waits until the device has done all it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def peak_bytes():
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def wanted():
    """Waits for the next turn: how many times to do the work. Ends the process when bench.mjs has gone."""
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return json.loads(line)["run"]


class Turn:
    """What is measured from one request of bench.mjs to the answer."""

    def __init__(self):
        self.left = wanted()
        self.seconds, self.cpu = [], time.process_time()

    def answer(self, **extra):
        say({"seconds": self.seconds, "cpu_seconds": time.process_time() - self.cpu, "peak_bytes": peak_bytes(), **extra})


def ready(extra=""):
    mixture = hasattr(model.config, "n_routed_experts")
    say(
        {
            "parameters": sum(p.numel() for p in model.parameters()),
            "describes": f"torch {torch.__version__}, transformers {transformers.__version__}{extra} "
            f"({model.config._attn_implementation} attention{f', {model.config._experts_implementation} experts' if mixture else ''})",
        }
    )


def serve(step):
    ready()
    while True:
        turn, found = Turn(), None
        for _ in range(turn.left):
            began = time.perf_counter()
            found = step()
            finish()
            turn.seconds.append(time.perf_counter() - began)
        turn.answer(**(found or {}))


def training():
    model.train()
    ids = torch.tensor(inputs["training"], device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=inputs["sizes"]["training"]["learning_rate"])
    first = []

    def step():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=setting == "bf16"):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        first.append(loss.item())
        del first[1:]
        return {"first_loss": first[0]}

    serve(step)


def generation():
    model.eval()
    sizes = inputs["sizes"]["generation"]
    ids = torch.tensor(inputs["generation"], device=device)
    mask = torch.ones_like(ids)

    def step():
        with torch.inference_mode():
            output = model.generate(
                ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                max_new_tokens=sizes["new"], pad_token_id=0,
            )  # fmt: skip
        # No end-of-text token is configured, so nothing can end early.
        assert output.shape == (sizes["batch"], sizes["prompt"] + sizes["new"]), output.shape

    serve(step)


def grpo():
    import trl
    from datasets import Dataset
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    sizes = inputs["sizes"]["grpo"]
    size = config["vocab_size"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789 +-=?.,:;!"
    vocabulary = ["<pad>", "<bos>", "<unk>", "<unused>", *letters]
    vocabulary += [chr(0x4E00 + i) for i in range(size - len(vocabulary))]
    # The end of text lies beyond what the model can say: every completion has the full length, at no cost.
    vocabulary.append("<eos>")
    base = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    base.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=base, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>",
        padding_side="left",
    )  # fmt: skip
    for known in (model.config, model.generation_config):
        known.pad_token_id, known.bos_token_id, known.eos_token_id = 0, 1, size
    # Three letters stand for the three tokens that ours puts around a question.
    prompts = ["q: " + question for question in inputs["questions"]]
    assert all(len(tokenizer(prompt)["input_ids"]) == sizes["prompt"] for prompt in prompts)

    def reward(completions, completion_ids, **_):
        assert len(completion_ids) == sizes["prompts"] * sizes["group"], len(completion_ids)
        assert all(len(ids) == sizes["new"] for ids in completion_ids), [len(ids) for ids in completion_ids]
        return [sum(letter in "abcdefghij" for letter in text) / sizes["new"] for text in completions]

    class Gate(TrainerCallback):
        """Holds the trainer after a step until bench.mjs wants more of them."""

        def next_turn(self):
            self.turn = Turn()
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            finish()
            now = time.perf_counter()
            self.turn.seconds.append(now - self.began)
            self.began = now
            if len(self.turn.seconds) == self.turn.left:
                self.turn.answer()
                self.next_turn()

    arguments = GRPOConfig(
        output_dir=os.path.join(folder, f"trl-{setting}"), use_cpu=device == "cpu", bf16=setting == "bf16", gradient_checkpointing=False,
        per_device_train_batch_size=sizes["prompts"] * sizes["group"], gradient_accumulation_steps=1,
        num_generations=sizes["group"], max_completion_length=sizes["new"], temperature=1.0, beta=0.0,
        learning_rate=sizes["learning_rate"], lr_scheduler_type="constant", max_steps=1_000_000,
        logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, shuffle_dataset=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict({"prompt": prompts}), reward_funcs=reward,
        processing_class=tokenizer,
    )  # fmt: skip
    gate = Gate()
    trainer.add_callback(gate)
    ready(f", trl {trl.__version__}")
    gate.next_turn()
    trainer.train()


{"training": training, "generation": generation, "grpo": grpo}[work]()
