// Generated from the schemas of libtorch 2.13.0 by scripts/generate.mjs: do not edit.
import type { Device, DType } from '../dtype.js';
import type { Generator } from '../random.js';
import { callAny, callTensor, lazy } from '../operator.js';
import type { Tensor } from '../tensor.js';

/** `aten::zeros(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function zeros(size: number | readonly number[], options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(163, 'aten::zeros'), size, options?.dtype, undefined, options?.device);
}

/** `aten::ones(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function ones(size: number | readonly number[], options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(164, 'aten::ones'), size, options?.dtype, undefined, options?.device);
}

/** `aten::full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function full(size: number | readonly number[], fillValue: number | bigint | boolean, options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(165, 'aten::full'), size, fillValue, options?.dtype ?? 'float32', undefined, options?.device);
}

/** `aten::empty.memory_format(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function empty(size: number | readonly number[], options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(166, 'aten::empty.memory_format'), size, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function arange(start: number | bigint | boolean, end: number | bigint | boolean, step?: number | bigint | boolean, options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(167, 'aten::arange.start_step'), start, end, step, options?.dtype, undefined, options?.device);
}

/** `aten::linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function linspace(start: number | bigint | boolean, end: number | bigint | boolean, steps: number, options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(168, 'aten::linspace'), start, end, steps, options?.dtype, undefined, options?.device);
}

/** `aten::eye(SymInt n, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function eye(n: number, options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(169, 'aten::eye'), n, options?.dtype, undefined, options?.device);
}

/** `aten::rand.generator(SymInt[] size, *, Generator? generator, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function rand(size: number | readonly number[], options?: { generator?: Generator | null; dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(170, 'aten::rand.generator'), size, options?.generator, options?.dtype, undefined, options?.device);
}

/** `aten::randn.generator(SymInt[] size, *, Generator? generator, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randn(size: number | readonly number[], options?: { generator?: Generator | null; dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(171, 'aten::randn.generator'), size, options?.generator, options?.dtype, undefined, options?.device);
}

/** `aten::randint.low_generator(SymInt low, SymInt high, SymInt[] size, *, Generator? generator, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randint(low: number, high: number, size: number | readonly number[], options?: { generator?: Generator | null; dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(172, 'aten::randint.low_generator'), low, high, size, options?.generator, options?.dtype, undefined, options?.device);
}

/** `aten::randperm.generator(SymInt n, *, Generator? generator, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function randperm(n: number, options?: { generator?: Generator | null; dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(173, 'aten::randperm.generator'), n, options?.generator, options?.dtype, undefined, options?.device);
}

/** `aten::zeros_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function zerosLike(self_: Tensor, options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(174, 'aten::zeros_like'), self_, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::ones_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function onesLike(self_: Tensor, options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(175, 'aten::ones_like'), self_, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::empty_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function emptyLike(self_: Tensor, options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(176, 'aten::empty_like'), self_, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function fullLike(self_: Tensor, fillValue: number | bigint | boolean, options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(177, 'aten::full_like'), self_, fillValue, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::randn_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor` */
export function randnLike(self_: Tensor, options?: { dtype?: DType | null; device?: Device | null; memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
  return callTensor(lazy(178, 'aten::randn_like'), self_, options?.dtype, undefined, options?.device, undefined, options?.memoryFormat);
}

/** `aten::cat(Tensor[] tensors, int dim=0) -> Tensor` */
export function cat(tensors: readonly Tensor[], dim?: number): Tensor {
  return callTensor(lazy(179, 'aten::cat'), tensors, dim);
}

/** `aten::stack(Tensor[] tensors, int dim=0) -> Tensor` */
export function stack(tensors: readonly Tensor[], dim?: number): Tensor {
  return callTensor(lazy(180, 'aten::stack'), tensors, dim);
}

/** `aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor` */
export function where(condition: Tensor, self_: Tensor, other: Tensor | number | boolean): Tensor {
  return callTensor(lazy(181, 'aten::where.self'), condition, self_, other);
}

/** `aten::einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor` */
export function einsum(equation: string, tensors: readonly Tensor[], options?: { path?: number | readonly number[] | null }): Tensor {
  return callTensor(lazy(182, 'aten::einsum'), equation, tensors, options?.path);
}

/** `aten::outer(Tensor self, Tensor vec2) -> Tensor` */
export function outer(self_: Tensor, vec2: Tensor): Tensor {
  return callTensor(lazy(183, 'aten::outer'), self_, vec2);
}

/** `aten::searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor` */
export function searchsorted(sortedSequence: Tensor, self_: Tensor, options?: { outInt32?: boolean; right?: boolean; side?: string | null; sorter?: Tensor | number | boolean | null }): Tensor {
  return callTensor(lazy(184, 'aten::searchsorted.Tensor'), sortedSequence, self_, options?.outInt32, options?.right, options?.side, options?.sorter);
}

/** `aten::cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt ignore_index=-100, float label_smoothing=0.) -> Tensor` */
export function crossEntropyLoss(self_: Tensor, target: Tensor, weight?: Tensor | number | boolean | null, reduction?: number, ignoreIndex?: number, labelSmoothing?: number): Tensor {
  return callTensor(lazy(185, 'aten::cross_entropy_loss'), self_, target, weight, reduction, ignoreIndex, labelSmoothing);
}

/** `aten::nll_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt ignore_index=-100) -> Tensor` */
export function nllLoss(self_: Tensor, target: Tensor, weight?: Tensor | number | boolean | null, reduction?: number, ignoreIndex?: number): Tensor {
  return callTensor(lazy(186, 'aten::nll_loss'), self_, target, weight, reduction, ignoreIndex);
}

/** `aten::binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, Tensor? pos_weight=None, int reduction=1) -> Tensor` */
export function binaryCrossEntropyWithLogits(self_: Tensor, target: Tensor, weight?: Tensor | number | boolean | null, posWeight?: Tensor | number | boolean | null, reduction?: number): Tensor {
  return callTensor(lazy(187, 'aten::binary_cross_entropy_with_logits'), self_, target, weight, posWeight, reduction);
}

/** `aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1.0000000000000001e-05, bool cudnn_enable=True) -> Tensor` */
export function layerNorm(input: Tensor, normalizedShape: number | readonly number[], weight?: Tensor | number | boolean | null, bias?: Tensor | number | boolean | null, eps?: number, cudnnEnable?: boolean): Tensor {
  return callTensor(lazy(188, 'aten::layer_norm'), input, normalizedShape, weight, bias, eps, cudnnEnable);
}

/** `aten::rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor` */
export function rmsNorm(input: Tensor, normalizedShape: number | readonly number[], weight?: Tensor | number | boolean | null, eps?: number | null): Tensor {
  return callTensor(lazy(189, 'aten::rms_norm'), input, normalizedShape, weight, eps);
}

/** `aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor` */
export function embeddingLookup(weight: Tensor, indices: Tensor, paddingIdx?: number, scaleGradByFreq?: boolean, sparse?: boolean): Tensor {
  return callTensor(lazy(190, 'aten::embedding'), weight, indices, paddingIdx, scaleGradByFreq, sparse);
}

/** `aten::one_hot(Tensor self, int num_classes=-1) -> Tensor` */
export function oneHot(self_: Tensor, numClasses?: number): Tensor {
  return callTensor(lazy(191, 'aten::one_hot'), self_, numClasses);
}

/** `aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0., bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor` */
export function scaledDotProductAttention(query: Tensor, key: Tensor, value: Tensor | number | boolean, attnMask?: Tensor | number | boolean | null, dropoutP?: number, isCausal?: boolean, options?: { scale?: number | null; enableGqa?: boolean }): Tensor {
  return callTensor(lazy(192, 'aten::scaled_dot_product_attention'), query, key, value, attnMask, dropoutP, isCausal, options?.scale, options?.enableGqa);
}

/** `aten::block_diag(Tensor[] tensors) -> Tensor` */
export function blockDiag(tensors: readonly Tensor[]): Tensor {
  return callTensor(lazy(193, 'aten::block_diag'), tensors);
}

/** `aten::from_file(str filename, bool? shared=None, int? size=0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor` */
export function fromFile(filename: string, shared?: boolean | null, size?: number | null, options?: { dtype?: DType | null; device?: Device | null }): Tensor {
  return callTensor(lazy(194, 'aten::from_file'), filename, shared, size, options?.dtype, undefined, options?.device);
}

/** `aten::constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor` */
export function padConstant(self_: Tensor, pad: number | readonly number[], value?: number | bigint | boolean): Tensor {
  return callTensor(lazy(195, 'aten::constant_pad_nd'), self_, pad, value);
}

/** `aten::_foreach_norm.Scalar(Tensor[] self, Scalar ord=2, ScalarType? dtype=None) -> Tensor[]` */
export function foreachNorm(self_: readonly Tensor[], ord?: number | bigint | boolean, dtype?: DType | null): Tensor[] {
  return callAny(lazy(196, 'aten::_foreach_norm.Scalar'), self_, ord, dtype) as Tensor[];
}

/** `aten::_foreach_mul_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()` */
export function foreachMul_(self_: readonly Tensor[], scalar: number | bigint | boolean): void {
  callAny(lazy(197, 'aten::_foreach_mul_.Scalar'), self_, scalar);
}

/** `aten::_foreach_mul_.Tensor(Tensor(a!)[] self, Tensor other) -> ()` */
export function foreachMulTensor_(self_: readonly Tensor[], other: Tensor | number | boolean): void {
  callAny(lazy(198, 'aten::_foreach_mul_.Tensor'), self_, other);
}

/** `aten::_foreach_add_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()` */
export function foreachAdd_(self_: readonly Tensor[], scalar: number | bigint | boolean): void {
  callAny(lazy(199, 'aten::_foreach_add_.Scalar'), self_, scalar);
}

/** `aten::_foreach_add_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()` */
export function foreachAddList_(self_: readonly Tensor[], other: readonly Tensor[], options?: { alpha?: number | bigint | boolean }): void {
  callAny(lazy(200, 'aten::_foreach_add_.List'), self_, other, options?.alpha);
}

/** `aten::_foreach_zero_(Tensor(a!)[] self) -> ()` */
export function foreachZero_(self_: readonly Tensor[]): void {
  callAny(lazy(201, 'aten::_foreach_zero_'), self_);
}

/** `aten::_foreach_copy_(Tensor(a!)[] self, Tensor[] src, bool non_blocking=False) -> ()` */
export function foreachCopy_(self_: readonly Tensor[], src: readonly Tensor[], nonBlocking?: boolean): void {
  callAny(lazy(202, 'aten::_foreach_copy_'), self_, src, nonBlocking);
}

/** `aten::_foreach_lerp_.Scalar(Tensor(a!)[] self, Tensor[] tensors1, Scalar weight) -> ()` */
export function foreachLerp_(self_: readonly Tensor[], tensors1: readonly Tensor[], weight: number | bigint | boolean): void {
  callAny(lazy(203, 'aten::_foreach_lerp_.Scalar'), self_, tensors1, weight);
}

/** `aten::_fused_adamw_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, Tensor(d!)[] exp_avg_sqs, Tensor(e!)[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()` */
export function fusedAdamw_(self_: readonly Tensor[], grads: readonly Tensor[], expAvgs: readonly Tensor[], expAvgSqs: readonly Tensor[], maxExpAvgSqs: readonly Tensor[], stateSteps: readonly Tensor[], options: { lr: number; beta1: number; beta2: number; weightDecay: number; eps: number; amsgrad: boolean; maximize: boolean; gradScale?: Tensor | number | boolean | null; foundInf?: Tensor | number | boolean | null }): void {
  callAny(lazy(204, 'aten::_fused_adamw_'), self_, grads, expAvgs, expAvgSqs, maxExpAvgSqs, stateSteps, options?.lr, options?.beta1, options?.beta2, options?.weightDecay, options?.eps, options?.amsgrad, options?.maximize, options?.gradScale, options?.foundInf);
}
