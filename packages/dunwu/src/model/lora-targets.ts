import type { NamedLinear } from './causal-model.js';
import type { Linear, LinearPart } from './linear.js';
import type { LoraConfig } from './lora-config.js';

/** A matrix that an adapter can be put on, by its name on disk: `model.layers.0.self_attn.q_proj`. */
export interface LoraTarget {
  readonly name: string;
  readonly linear: Linear;
  readonly part: LinearPart;
}

/** All matrices that can have an adapter. */
export function allTargets(linears: readonly NamedLinear[]): LoraTarget[] {
  return linears.flatMap(({ prefix, linear }) =>
    linear.parts.map((part) => ({ name: `${prefix}.${part.name}`, linear, part })),
  );
}

/** As PEFT: the whole name, or the end of it after a dot. */
export function matches(name: string, target: string): boolean {
  return name === target || name.endsWith(`.${target}`);
}

/** The matrices that a configuration means. @throws Error naming every name that means none, and why. */
export function chosenTargets(all: readonly LoraTarget[], wanted: LoraConfig['target_modules']): LoraTarget[] {
  if (wanted === 'all-linear') return [...all];
  const problems = wanted.flatMap((target) =>
    all.some(({ name }) => matches(name, target)) ? [] : [`${target}: ${reason(all, target)}`],
  );
  if (problems.length > 0) throw new Error(`target_modules: ${problems.join('; ')}`);
  return all.filter(({ name }) => wanted.some((target) => matches(name, target)));
}

/** Why a name means no matrix that could have an adapter. */
export function reason(all: readonly LoraTarget[], target: string): string {
  const last = lastPart(target);
  const fused = all.find(({ linear }) => linear.parts.length > 1 && linear.name === last);
  if (fused !== undefined) {
    return `is several matrices on disk; name ${fused.linear.parts.map(({ name }) => name).join(', ')}`;
  }
  if (/(^|\.)experts(\.|$)/.test(target)) {
    return 'routed experts have no adapters: each sees few of the tokens, and all are computed as one; the shared experts are shared_experts.gate_proj, …';
  }
  if (last === 'gate' || last === 'router') {
    return 'routers have no adapters: a small change of a score sends a token to other experts';
  }
  if (last === 'embed_tokens' || last === 'lm_head') {
    return 'embedding and head have no adapters: they stay as they are';
  }
  if (/norm$/.test(last)) return 'is a norm, which has no matrix';
  const known = [...new Set(all.map(({ name }) => lastPart(name)))];
  return `matches no matrix of this model; it has ${known.join(', ')}`;
}

/** The shortest names that mean just these: a last part where all that end so are meant, whole names otherwise. */
export function shortNames(all: readonly LoraTarget[], chosen: readonly LoraTarget[]): string[] {
  const names = new Set(chosen.map(({ name }) => name));
  const whole = (last: string): boolean => all.every(({ name }) => lastPart(name) !== last || names.has(name));
  return [...new Set([...names].map((name) => (whole(lastPart(name)) ? lastPart(name) : name)))].sort();
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}
