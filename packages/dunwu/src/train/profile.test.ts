import { readFileSync } from 'node:fs';
import { liveTensors } from '@dunwu/torch';
import { expect, it, vi } from 'vitest';
import { Decoder } from '../model/decoder.js';
import { TensorDecoder } from '../model/tensor-decoder.js';
import { tinyDense, tinyModel } from '../model/testing/tiny.js';
import { TINY_DEEPSEEK } from '../model/tiny-deepseek.js';
import { countFlops } from './flops.js';
import { mergeOperators, operatorName, profileGeneration, profileTraining, type WorkProfile } from './profile.js';

function checkSums({ phases, seconds }: WorkProfile): void {
  expect(phases.reduce((sum, phase) => sum + phase.seconds, 0)).toBeCloseTo(seconds, 12);
  for (const phase of phases) {
    const inside = phase.operators.reduce((sum, one) => sum + one.seconds, 0);
    expect((inside + phase.outside) / phase.seconds).toBeCloseTo(1, 12);
    expect(phase.outside).toBeGreaterThan(0);
    expect(phase.operators.every((one) => one.seconds >= 0)).toBe(true);
    expect(phase.products.flops).toBe(phase.operators.reduce((sum, one) => sum + one.flops, 0));
  }
}

it('training: the products are those of the formula, forward and twice that backward', () => {
  const batch = 2;
  const time = 12;
  for (const model of [tinyModel(1), tinyDense('qwen2', 1)]) {
    const profiled = profileTraining(model, { batch, time, repeat: 2 });
    checkSums(profiled);
    expect(profiled.tokens).toBe(batch * time);
    expect(profiled.phases.map(({ name }) => name)).toEqual(['forward', 'backward', 'optimiser']);
    const [forward, backward, optimiser] = profiled.phases.map(({ products }) => products.flops);
    // Attention multiplies by itself: its operations are not among the products.
    expect(forward).toBe(batch * time * countFlops(model.config).forward(0));
    // The head's logits are not held, but computed once more for their gradient.
    const head = 2 * batch * time * model.config.vocab_size * model.config.hidden_size;
    expect(backward).toBe(2 * (forward as number) + head);
    expect(optimiser).toBe(0);
    const adamw = profiled.phases[2]?.operators.find(({ name }) => name === 'aten::_fused_adamw_');
    expect(adamw?.calls).toBe(2); // a step, each of two groups
    model.dispose();
  }
});

it('generation: the products are those of the formula, and nothing stays behind', () => {
  const [rows, prompt, made] = [3, 5, 4];
  const model = tinyDense('llama', 1);
  const before = liveTensors();
  const profiled = profileGeneration(model, { rows, prompt, made, repeat: 2 });
  expect(liveTensors()).toBe(before);
  checkSums(profiled);
  expect(profiled.tokens).toBe(rows * made);
  const [prefill, decode] = profiled.phases.map(({ products }) => products.flops);
  const { forward } = countFlops(model.config);
  // The head only sees a prompt's last token.
  const head = 2 * model.config.vocab_size * model.config.hidden_size;
  const read = [1, 2, 3, 4, 5].map((context) => forward(context) - head);
  expect(prefill).toBe(rows * (read.reduce((all, one) => all + one) + head));
  // The first token comes from the prompt; each later one attends to all before it and itself.
  expect(decode).toBe(rows * (forward(prompt + 1) + forward(prompt + 2) + forward(prompt + 3)));
  model.dispose();
});

it('generation in plain operators, as on a device: the products of all matrices', () => {
  const [rows, prompt, made] = [3, 5, 4];
  const model = tinyDense('llama', 1);
  const before = liveTensors();
  const profiled = profileGeneration(model, { rows, prompt, made, repeat: 2 }, false);
  expect(liveTensors()).toBe(before);
  checkSums(profiled);
  const [prefill, decode] = profiled.phases.map(({ products }) => products.flops);
  // Attention multiplies by itself: its operations are not among the products.
  const each = countFlops(model.config).forward(0);
  const head = 2 * model.config.vocab_size * model.config.hidden_size;
  expect(prefill).toBe(rows * (prompt * (each - head) + head));
  expect(decode).toBe(rows * (made - 1) * each);
  model.dispose();
});

it.each([
  ['the fused decoder, 256', true, Decoder, [256, 14]],
  ['plain operators, 2048', false, TensorDecoder, [270]],
] as const)('prompts are read in pieces as by the engine: by %s', (_, fused, Kind, pieces) => {
  const model = tinyDense('llama', 1);
  const step = vi.spyOn(Kind.prototype, 'step');
  profileGeneration(model, { rows: 9, prompt: 30, made: 1, repeat: 1 }, fused);
  // Once to warm up.
  expect(step.mock.calls.map(([{ tokens }]) => tokens.length)).toEqual([...pieces, ...pieces]);
  vi.restoreAllMocks();
  model.dispose();
});

it('names of the backward pass are for people, and a node counts once', () => {
  expect(operatorName('autograd::engine::evaluate_function: MmBackward0')).toBe('MmBackward0');
  expect(operatorName('torch::autograd::AccumulateGrad')).toBe('AccumulateGrad');
  expect(operatorName('torch::autograd::CppNode<dunwu::(anonymous namespace)::RmsNorm>')).toBe(
    'dunwu::RmsNorm backward',
  );
  expect(operatorName('aten::mm')).toBe('aten::mm');
  expect(
    mergeOperators(
      [
        { name: 'autograd::engine::evaluate_function: MmBackward0', calls: 4, seconds: 1, flops: 0 },
        { name: 'MmBackward0', calls: 4, seconds: 3, flops: 0 },
        { name: 'aten::mm', calls: 2, seconds: 6, flops: 10 },
      ],
      2,
    ),
  ).toEqual([
    { name: 'aten::mm', calls: 1, seconds: 3, flops: 5 },
    { name: 'MmBackward0', calls: 2, seconds: 2, flops: 0 },
  ]);
});

it("the model without a folder is the bench's", () => {
  const workload = new URL('../../../../bench/workload.json', import.meta.url);
  expect(JSON.parse(readFileSync(workload, 'utf8')).tiny.model).toEqual(TINY_DEEPSEEK);
});
