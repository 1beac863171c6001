// Generated from the schemas of libtorch 2.13.0 by scripts/generate.mjs: do not edit.
import type { Device, DType } from '../dtype.js';
import type { Generator } from '../random.js';
import { callAny, callInPlace, callTensor, lazy } from '../operator.js';
import type { Tensor } from '../tensor.js';

export abstract class TensorOperators {
  /** `aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor` */
  add(other: Tensor | number | boolean, options?: { alpha?: number | bigint | boolean }): Tensor {
    return callTensor(lazy(0, 'aten::add.Tensor'), this, other, options?.alpha);
  }

  /** `aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor` */
  sub(other: Tensor | number | boolean, options?: { alpha?: number | bigint | boolean }): Tensor {
    return callTensor(lazy(1, 'aten::sub.Tensor'), this, other, options?.alpha);
  }

  /** `aten::mul.Tensor(Tensor self, Tensor other) -> Tensor` */
  mul(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(2, 'aten::mul.Tensor'), this, other);
  }

  /** `aten::div.Tensor(Tensor self, Tensor other) -> Tensor` */
  div(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(3, 'aten::div.Tensor'), this, other);
  }

  /** `aten::neg(Tensor self) -> Tensor` */
  neg(): Tensor {
    return callTensor(lazy(4, 'aten::neg'), this);
  }

  /** `aten::abs(Tensor self) -> Tensor` */
  abs(): Tensor {
    return callTensor(lazy(5, 'aten::abs'), this);
  }

  /** `aten::exp(Tensor self) -> Tensor` */
  exp(): Tensor {
    return callTensor(lazy(6, 'aten::exp'), this);
  }

  /** `aten::log(Tensor self) -> Tensor` */
  log(): Tensor {
    return callTensor(lazy(7, 'aten::log'), this);
  }

  /** `aten::log2(Tensor self) -> Tensor` */
  log2(): Tensor {
    return callTensor(lazy(8, 'aten::log2'), this);
  }

  /** `aten::log1p(Tensor self) -> Tensor` */
  log1p(): Tensor {
    return callTensor(lazy(9, 'aten::log1p'), this);
  }

  /** `aten::expm1(Tensor self) -> Tensor` */
  expm1(): Tensor {
    return callTensor(lazy(10, 'aten::expm1'), this);
  }

  /** `aten::sqrt(Tensor self) -> Tensor` */
  sqrt(): Tensor {
    return callTensor(lazy(11, 'aten::sqrt'), this);
  }

  /** `aten::rsqrt(Tensor self) -> Tensor` */
  rsqrt(): Tensor {
    return callTensor(lazy(12, 'aten::rsqrt'), this);
  }

  /** `aten::square(Tensor self) -> Tensor` */
  square(): Tensor {
    return callTensor(lazy(13, 'aten::square'), this);
  }

  /** `aten::reciprocal(Tensor self) -> Tensor` */
  reciprocal(): Tensor {
    return callTensor(lazy(14, 'aten::reciprocal'), this);
  }

  /** `aten::sin(Tensor self) -> Tensor` */
  sin(): Tensor {
    return callTensor(lazy(15, 'aten::sin'), this);
  }

  /** `aten::cos(Tensor self) -> Tensor` */
  cos(): Tensor {
    return callTensor(lazy(16, 'aten::cos'), this);
  }

  /** `aten::tanh(Tensor self) -> Tensor` */
  tanh(): Tensor {
    return callTensor(lazy(17, 'aten::tanh'), this);
  }

  /** `aten::sigmoid(Tensor self) -> Tensor` */
  sigmoid(): Tensor {
    return callTensor(lazy(18, 'aten::sigmoid'), this);
  }

  /** `aten::relu(Tensor self) -> Tensor` */
  relu(): Tensor {
    return callTensor(lazy(19, 'aten::relu'), this);
  }

  /** `aten::silu(Tensor self) -> Tensor` */
  silu(): Tensor {
    return callTensor(lazy(20, 'aten::silu'), this);
  }

  /** `aten::gelu(Tensor self, *, str approximate="none") -> Tensor` */
  gelu(options?: { approximate?: string }): Tensor {
    return callTensor(lazy(21, 'aten::gelu'), this, options?.approximate);
  }

  /** `aten::sign(Tensor self) -> Tensor` */
  sign(): Tensor {
    return callTensor(lazy(22, 'aten::sign'), this);
  }

  /** `aten::floor(Tensor self) -> Tensor` */
  floor(): Tensor {
    return callTensor(lazy(23, 'aten::floor'), this);
  }

  /** `aten::ceil(Tensor self) -> Tensor` */
  ceil(): Tensor {
    return callTensor(lazy(24, 'aten::ceil'), this);
  }

  /** `aten::round(Tensor self) -> Tensor` */
  round(): Tensor {
    return callTensor(lazy(25, 'aten::round'), this);
  }

  /** `aten::trunc(Tensor self) -> Tensor` */
  trunc(): Tensor {
    return callTensor(lazy(26, 'aten::trunc'), this);
  }

  /** `aten::erf(Tensor self) -> Tensor` */
  erf(): Tensor {
    return callTensor(lazy(27, 'aten::erf'), this);
  }

  /** `aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor` */
  clamp(min?: number | bigint | boolean | null, max?: number | bigint | boolean | null): Tensor {
    return callTensor(lazy(28, 'aten::clamp'), this, min, max);
  }

  /** `aten::clamp_min(Tensor self, Scalar min) -> Tensor` */
  clampMin(min: number | bigint | boolean): Tensor {
    return callTensor(lazy(29, 'aten::clamp_min'), this, min);
  }

  /** `aten::clamp_max(Tensor self, Scalar max) -> Tensor` */
  clampMax(max: number | bigint | boolean): Tensor {
    return callTensor(lazy(30, 'aten::clamp_max'), this, max);
  }

  /** `aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor` */
  pow(exponent: number | bigint | boolean): Tensor {
    return callTensor(lazy(31, 'aten::pow.Tensor_Scalar'), this, exponent);
  }

  /** `aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor` */
  powTensor(exponent: Tensor | number | boolean): Tensor {
    return callTensor(lazy(32, 'aten::pow.Tensor_Tensor'), this, exponent);
  }

  /** `aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor` */
  remainder(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(33, 'aten::remainder.Tensor'), this, other);
  }

  /** `aten::floor_divide(Tensor self, Tensor other) -> Tensor` */
  floorDivide(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(34, 'aten::floor_divide'), this, other);
  }

  /** `aten::fmod.Tensor(Tensor self, Tensor other) -> Tensor` */
  fmod(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(35, 'aten::fmod.Tensor'), this, other);
  }

  /** `aten::maximum(Tensor self, Tensor other) -> Tensor` */
  maximum(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(36, 'aten::maximum'), this, other);
  }

  /** `aten::minimum(Tensor self, Tensor other) -> Tensor` */
  minimum(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(37, 'aten::minimum'), this, other);
  }

  /** `aten::eq.Tensor(Tensor self, Tensor other) -> Tensor` */
  eq(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(38, 'aten::eq.Tensor'), this, other);
  }

  /** `aten::ne.Tensor(Tensor self, Tensor other) -> Tensor` */
  ne(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(39, 'aten::ne.Tensor'), this, other);
  }

  /** `aten::lt.Tensor(Tensor self, Tensor other) -> Tensor` */
  lt(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(40, 'aten::lt.Tensor'), this, other);
  }

  /** `aten::le.Tensor(Tensor self, Tensor other) -> Tensor` */
  le(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(41, 'aten::le.Tensor'), this, other);
  }

  /** `aten::gt.Tensor(Tensor self, Tensor other) -> Tensor` */
  gt(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(42, 'aten::gt.Tensor'), this, other);
  }

  /** `aten::ge.Tensor(Tensor self, Tensor other) -> Tensor` */
  ge(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(43, 'aten::ge.Tensor'), this, other);
  }

  /** `aten::logical_and(Tensor self, Tensor other) -> Tensor` */
  logicalAnd(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(44, 'aten::logical_and'), this, other);
  }

  /** `aten::logical_or(Tensor self, Tensor other) -> Tensor` */
  logicalOr(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(45, 'aten::logical_or'), this, other);
  }

  /** `aten::logical_not(Tensor self) -> Tensor` */
  logicalNot(): Tensor {
    return callTensor(lazy(46, 'aten::logical_not'), this);
  }

  /** `aten::bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor` */
  bitwiseAnd(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(47, 'aten::bitwise_and.Tensor'), this, other);
  }

  /** `aten::bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor` */
  bitwiseOr(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(48, 'aten::bitwise_or.Tensor'), this, other);
  }

  /** `aten::isnan(Tensor self) -> Tensor` */
  isnan(): Tensor {
    return callTensor(lazy(49, 'aten::isnan'), this);
  }

  /** `aten::isinf(Tensor self) -> Tensor` */
  isinf(): Tensor {
    return callTensor(lazy(50, 'aten::isinf'), this);
  }

  /** `aten::isfinite(Tensor self) -> Tensor` */
  isfinite(): Tensor {
    return callTensor(lazy(51, 'aten::isfinite'), this);
  }

  /** `aten::nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor` */
  nanToNum(nan?: number | null, posinf?: number | null, neginf?: number | null): Tensor {
    return callTensor(lazy(52, 'aten::nan_to_num'), this, nan, posinf, neginf);
  }

  /** `aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  sum(dim?: number | readonly number[] | null, keepdim?: boolean, options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(53, 'aten::sum.dim_IntList'), this, dim, keepdim, options?.dtype);
  }

  /** `aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  mean(dim?: number | readonly number[] | null, keepdim?: boolean, options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(54, 'aten::mean.dim'), this, dim, keepdim, options?.dtype);
  }

  /** `aten::prod(Tensor self, *, ScalarType? dtype=None) -> Tensor` */
  prod(options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(55, 'aten::prod'), this, options?.dtype);
  }

  /** `aten::var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor` */
  variance(dim?: number | readonly number[] | null, options?: { correction?: number | bigint | boolean | null; keepdim?: boolean }): Tensor {
    return callTensor(lazy(56, 'aten::var.correction'), this, dim, options?.correction, options?.keepdim);
  }

  /** `aten::std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor` */
  std(dim?: number | readonly number[] | null, options?: { correction?: number | bigint | boolean | null; keepdim?: boolean }): Tensor {
    return callTensor(lazy(57, 'aten::std.correction'), this, dim, options?.correction, options?.keepdim);
  }

  /** `aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor` */
  amax(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return callTensor(lazy(58, 'aten::amax'), this, dim, keepdim);
  }

  /** `aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor` */
  amin(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return callTensor(lazy(59, 'aten::amin'), this, dim, keepdim);
  }

  /** `aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor` */
  argmax(dim?: number | null, keepdim?: boolean): Tensor {
    return callTensor(lazy(60, 'aten::argmax'), this, dim, keepdim);
  }

  /** `aten::argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor` */
  argmin(dim?: number | null, keepdim?: boolean): Tensor {
    return callTensor(lazy(61, 'aten::argmin'), this, dim, keepdim);
  }

  /** `aten::all(Tensor self) -> Tensor` */
  all(): Tensor {
    return callTensor(lazy(62, 'aten::all'), this);
  }

  /** `aten::any(Tensor self) -> Tensor` */
  any(): Tensor {
    return callTensor(lazy(63, 'aten::any'), this);
  }

  /** `aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)` */
  maxDim(dim: number, keepdim?: boolean): [Tensor, Tensor] {
    return callAny(lazy(64, 'aten::max.dim'), this, dim, keepdim) as [Tensor, Tensor];
  }

  /** `aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)` */
  minDim(dim: number, keepdim?: boolean): [Tensor, Tensor] {
    return callAny(lazy(65, 'aten::min.dim'), this, dim, keepdim) as [Tensor, Tensor];
  }

  /** `aten::median(Tensor self) -> Tensor` */
  median(): Tensor {
    return callTensor(lazy(66, 'aten::median'), this);
  }

  /** `aten::cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor` */
  cumsum(dim: number, options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(67, 'aten::cumsum'), this, dim, options?.dtype);
  }

  /** `aten::cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor` */
  cumprod(dim: number, options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(68, 'aten::cumprod'), this, dim, options?.dtype);
  }

  /** `aten::logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor` */
  logsumexp(dim: number | readonly number[], keepdim?: boolean): Tensor {
    return callTensor(lazy(69, 'aten::logsumexp'), this, dim, keepdim);
  }

  /** `aten::linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor` */
  norm(ord?: number | bigint | boolean, dim?: number | readonly number[] | null, keepdim?: boolean, options?: { dtype?: DType | null }): Tensor {
    return callTensor(lazy(70, 'aten::linalg_vector_norm'), this, ord, dim, keepdim, options?.dtype);
  }

  /** `aten::topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)` */
  topk(k: number, dim?: number, largest?: boolean, sorted?: boolean): [Tensor, Tensor] {
    return callAny(lazy(71, 'aten::topk'), this, k, dim, largest, sorted) as [Tensor, Tensor];
  }

  /** `aten::sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)` */
  sort(dim?: number, descending?: boolean): [Tensor, Tensor] {
    return callAny(lazy(72, 'aten::sort'), this, dim, descending) as [Tensor, Tensor];
  }

  /** `aten::argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor` */
  argsort(dim?: number, descending?: boolean): Tensor {
    return callTensor(lazy(73, 'aten::argsort'), this, dim, descending);
  }

  /** `aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor` */
  softmax(dim: number, dtype?: DType | null): Tensor {
    return callTensor(lazy(74, 'aten::softmax.int'), this, dim, dtype);
  }

  /** `aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor` */
  logSoftmax(dim: number, dtype?: DType | null): Tensor {
    return callTensor(lazy(75, 'aten::log_softmax.int'), this, dim, dtype);
  }

  /** `aten::matmul(Tensor self, Tensor other) -> Tensor` */
  matmul(other: Tensor | number | boolean): Tensor {
    return callTensor(lazy(76, 'aten::matmul'), this, other);
  }

  /** `aten::mm(Tensor self, Tensor mat2) -> Tensor` */
  mm(mat2: Tensor): Tensor {
    return callTensor(lazy(77, 'aten::mm'), this, mat2);
  }

  /** `aten::bmm(Tensor self, Tensor mat2) -> Tensor` */
  bmm(mat2: Tensor): Tensor {
    return callTensor(lazy(78, 'aten::bmm'), this, mat2);
  }

  /** `aten::mv(Tensor self, Tensor vec) -> Tensor` */
  mv(vec: Tensor): Tensor {
    return callTensor(lazy(79, 'aten::mv'), this, vec);
  }

  /** `aten::dot(Tensor self, Tensor tensor) -> Tensor` */
  dot(tensor: Tensor): Tensor {
    return callTensor(lazy(80, 'aten::dot'), this, tensor);
  }

  /** `aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor` */
  addmm(mat1: Tensor, mat2: Tensor, options?: { beta?: number | bigint | boolean; alpha?: number | bigint | boolean }): Tensor {
    return callTensor(lazy(81, 'aten::addmm'), this, mat1, mat2, options?.beta, options?.alpha);
  }

  /** `aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor` */
  baddbmm(batch1: Tensor, batch2: Tensor, options?: { beta?: number | bigint | boolean; alpha?: number | bigint | boolean }): Tensor {
    return callTensor(lazy(82, 'aten::baddbmm'), this, batch1, batch2, options?.beta, options?.alpha);
  }

  /** `aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor` */
  linear(weight: Tensor, bias?: Tensor | number | boolean | null): Tensor {
    return callTensor(lazy(83, 'aten::linear'), this, weight, bias);
  }

  /** `aten::transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)` */
  transpose(dim0: number, dim1: number): Tensor {
    return callTensor(lazy(84, 'aten::transpose.int'), this, dim0, dim1);
  }

  /** `aten::t(Tensor(a) self) -> Tensor(a)` */
  t(): Tensor {
    return callTensor(lazy(85, 'aten::t'), this);
  }

  /** `aten::permute(Tensor(a) self, int[] dims) -> Tensor(a)` */
  permute(dims: number | readonly number[]): Tensor {
    return callTensor(lazy(86, 'aten::permute'), this, dims);
  }

  /** `aten::reshape(Tensor(a) self, SymInt[] shape) -> Tensor(a)` */
  reshape(shape: number | readonly number[]): Tensor {
    return callTensor(lazy(87, 'aten::reshape'), this, shape);
  }

  /** `aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)` */
  view(size: number | readonly number[]): Tensor {
    return callTensor(lazy(88, 'aten::view'), this, size);
  }

  /** `aten::expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)` */
  expand(size: number | readonly number[], options?: { implicit?: boolean }): Tensor {
    return callTensor(lazy(89, 'aten::expand'), this, size, options?.implicit);
  }

  /** `aten::contiguous(Tensor(a) self, *, MemoryFormat memory_format=0) -> Tensor(a)` */
  contiguous(options?: { memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' }): Tensor {
    return callTensor(lazy(90, 'aten::contiguous'), this, options?.memoryFormat);
  }

  /** `aten::unsqueeze(Tensor(a) self, int dim) -> Tensor(a)` */
  unsqueeze(dim: number): Tensor {
    return callTensor(lazy(91, 'aten::unsqueeze'), this, dim);
  }

  /** `aten::squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)` */
  squeeze(dim: number): Tensor {
    return callTensor(lazy(92, 'aten::squeeze.dim'), this, dim);
  }

  /** `aten::flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)` */
  flatten(startDim?: number, endDim?: number): Tensor {
    return callTensor(lazy(93, 'aten::flatten.using_ints'), this, startDim, endDim);
  }

  /** `aten::narrow(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)` */
  narrow(dim: number, start: number, length: number): Tensor {
    return callTensor(lazy(94, 'aten::narrow'), this, dim, start, length);
  }

  /** `aten::slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)` */
  slice(dim?: number, start?: number | null, end?: number | null, step?: number): Tensor {
    return callTensor(lazy(95, 'aten::slice.Tensor'), this, dim, start, end, step);
  }

  /** `aten::select.int(Tensor(a) self, int dim, SymInt index) -> Tensor(a)` */
  select(dim: number, index: number): Tensor {
    return callTensor(lazy(96, 'aten::select.int'), this, dim, index);
  }

  /** `aten::split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]` */
  split(splitSize: number, dim?: number): Tensor[] {
    return callAny(lazy(97, 'aten::split.Tensor'), this, splitSize, dim) as Tensor[];
  }

  /** `aten::split_with_sizes(Tensor(a -> *) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]` */
  splitSizes(splitSizes: number | readonly number[], dim?: number): Tensor[] {
    return callAny(lazy(98, 'aten::split_with_sizes'), this, splitSizes, dim) as Tensor[];
  }

  /** `aten::chunk(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]` */
  chunk(chunks: number, dim?: number): Tensor[] {
    return callAny(lazy(99, 'aten::chunk'), this, chunks, dim) as Tensor[];
  }

  /** `aten::unbind.int(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]` */
  unbind(dim?: number): Tensor[] {
    return callAny(lazy(100, 'aten::unbind.int'), this, dim) as Tensor[];
  }

  /** `aten::movedim.int(Tensor(a) self, int source, int destination) -> Tensor(a)` */
  movedim(source: number, destination: number): Tensor {
    return callTensor(lazy(101, 'aten::movedim.int'), this, source, destination);
  }

  /** `aten::flip(Tensor self, int[] dims) -> Tensor` */
  flip(dims: number | readonly number[]): Tensor {
    return callTensor(lazy(102, 'aten::flip'), this, dims);
  }

  /** `aten::roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor` */
  roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
    return callTensor(lazy(103, 'aten::roll'), this, shifts, dims);
  }

  /** `aten::unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)` */
  unfold(dimension: number, size: number, step: number): Tensor {
    return callTensor(lazy(104, 'aten::unfold'), this, dimension, size, step);
  }

  /** `aten::tril(Tensor self, SymInt diagonal=0) -> Tensor` */
  tril(diagonal?: number): Tensor {
    return callTensor(lazy(105, 'aten::tril'), this, diagonal);
  }

  /** `aten::triu(Tensor self, SymInt diagonal=0) -> Tensor` */
  triu(diagonal?: number): Tensor {
    return callTensor(lazy(106, 'aten::triu'), this, diagonal);
  }

  /** `aten::diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)` */
  diagonal(offset?: number, dim1?: number, dim2?: number): Tensor {
    return callTensor(lazy(107, 'aten::diagonal'), this, offset, dim1, dim2);
  }

  /** `aten::repeat(Tensor self, SymInt[] repeats) -> Tensor` */
  repeat(repeats: number | readonly number[]): Tensor {
    return callTensor(lazy(108, 'aten::repeat'), this, repeats);
  }

  /** `aten::repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor` */
  repeatInterleave(repeats: number, dim?: number | null, options?: { outputSize?: number | null }): Tensor {
    return callTensor(lazy(109, 'aten::repeat_interleave.self_int'), this, repeats, dim, options?.outputSize);
  }

  /** `aten::repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor` */
  repeatInterleaveTensor(repeats: Tensor, dim?: number | null, options?: { outputSize?: number | null }): Tensor {
    return callTensor(lazy(110, 'aten::repeat_interleave.self_Tensor'), this, repeats, dim, options?.outputSize);
  }

  /** `aten::gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor` */
  gather(dim: number, index: Tensor, options?: { sparseGrad?: boolean }): Tensor {
    return callTensor(lazy(111, 'aten::gather'), this, dim, index, options?.sparseGrad);
  }

  /** `aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor` */
  scatter(dim: number, index: Tensor, src: Tensor): Tensor {
    return callTensor(lazy(112, 'aten::scatter.src'), this, dim, index, src);
  }

  /** `aten::scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor` */
  scatterValue(dim: number, index: Tensor, value: number | bigint | boolean): Tensor {
    return callTensor(lazy(113, 'aten::scatter.value'), this, dim, index, value);
  }

  /** `aten::scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor` */
  scatterAdd(dim: number, index: Tensor, src: Tensor): Tensor {
    return callTensor(lazy(114, 'aten::scatter_add'), this, dim, index, src);
  }

  /** `aten::index_select(Tensor self, int dim, Tensor index) -> Tensor` */
  indexSelect(dim: number, index: Tensor): Tensor {
    return callTensor(lazy(115, 'aten::index_select'), this, dim, index);
  }

  /** `aten::index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor` */
  indexAdd(dim: number, index: Tensor, source: Tensor, options?: { alpha?: number | bigint | boolean }): Tensor {
    return callTensor(lazy(116, 'aten::index_add'), this, dim, index, source, options?.alpha);
  }

  /** `aten::index.Tensor(Tensor self, Tensor?[] indices) -> Tensor` */
  index(indices: readonly (Tensor | null)[]): Tensor {
    return callTensor(lazy(117, 'aten::index.Tensor'), this, indices);
  }

  /** `aten::index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor` */
  indexPut(indices: readonly (Tensor | null)[], values: Tensor, accumulate?: boolean): Tensor {
    return callTensor(lazy(118, 'aten::index_put'), this, indices, values, accumulate);
  }

  /** `aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor` */
  maskedFill(mask: Tensor, value: number | bigint | boolean): Tensor {
    return callTensor(lazy(119, 'aten::masked_fill.Scalar'), this, mask, value);
  }

  /** `aten::masked_select(Tensor self, Tensor mask) -> Tensor` */
  maskedSelect(mask: Tensor): Tensor {
    return callTensor(lazy(120, 'aten::masked_select'), this, mask);
  }

  /** `aten::masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor` */
  maskedScatter(mask: Tensor, source: Tensor): Tensor {
    return callTensor(lazy(121, 'aten::masked_scatter'), this, mask, source);
  }

  /** `aten::take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor` */
  takeAlongDim(indices: Tensor, dim?: number | null): Tensor {
    return callTensor(lazy(122, 'aten::take_along_dim'), this, indices, dim);
  }

  /** `aten::nonzero(Tensor self) -> Tensor` */
  nonzero(): Tensor {
    return callTensor(lazy(123, 'aten::nonzero'), this);
  }

  /** `aten::bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor` */
  bincount(weights?: Tensor | number | boolean | null, minlength?: number): Tensor {
    return callTensor(lazy(124, 'aten::bincount'), this, weights, minlength);
  }

  /** `aten::unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> (Tensor, Tensor, Tensor)` */
  uniqueConsecutive(returnInverse?: boolean, returnCounts?: boolean, dim?: number | null): [Tensor, Tensor, Tensor] {
    return callAny(lazy(125, 'aten::unique_consecutive'), this, returnInverse, returnCounts, dim) as [Tensor, Tensor, Tensor];
  }

  /** `aten::detach(Tensor(a) self) -> Tensor(a)` */
  detach(): Tensor {
    return callTensor(lazy(126, 'aten::detach'), this);
  }

  /** `aten::clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor` */
  clone(options?: { memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null }): Tensor {
    return callTensor(lazy(127, 'aten::clone'), this, options?.memoryFormat);
  }

  /** `aten::to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)` */
  to(dtype: DType, nonBlocking?: boolean, copy?: boolean, memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null): Tensor {
    return callTensor(lazy(128, 'aten::to.dtype'), this, dtype, nonBlocking, copy, memoryFormat);
  }

  /** `aten::to.device(Tensor(a) self, Device device, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)` */
  toDevice(device: Device, dtype: DType, nonBlocking?: boolean, copy?: boolean, memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null): Tensor {
    return callTensor(lazy(129, 'aten::to.device'), this, device, dtype, nonBlocking, copy, memoryFormat);
  }

  /** `aten::to.other(Tensor(a) self, Tensor other, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)` */
  toOther(other: Tensor | number | boolean, nonBlocking?: boolean, copy?: boolean, memoryFormat?: 'contiguous_format' | 'preserve_format' | 'channels_last' | null): Tensor {
    return callTensor(lazy(130, 'aten::to.other'), this, other, nonBlocking, copy, memoryFormat);
  }

  /** `aten::view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)` */
  viewDtype(dtype: DType): Tensor {
    return callTensor(lazy(131, 'aten::view.dtype'), this, dtype);
  }

  /** `aten::zero_(Tensor(a!) self) -> Tensor(a!)` */
  zero_(): this {
    return callInPlace(this, lazy(132, 'aten::zero_'));
  }

  /** `aten::fill_.Scalar(Tensor(a!) self, Scalar value) -> Tensor(a!)` */
  fill_(value: number | bigint | boolean): this {
    return callInPlace(this, lazy(133, 'aten::fill_.Scalar'), value);
  }

  /** `aten::copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)` */
  copy_(src: Tensor, nonBlocking?: boolean): this {
    return callInPlace(this, lazy(134, 'aten::copy_'), src, nonBlocking);
  }

  /** `aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)` */
  add_(other: Tensor | number | boolean, options?: { alpha?: number | bigint | boolean }): this {
    return callInPlace(this, lazy(135, 'aten::add_.Tensor'), other, options?.alpha);
  }

  /** `aten::sub_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)` */
  sub_(other: Tensor | number | boolean, options?: { alpha?: number | bigint | boolean }): this {
    return callInPlace(this, lazy(136, 'aten::sub_.Tensor'), other, options?.alpha);
  }

  /** `aten::mul_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)` */
  mul_(other: Tensor | number | boolean): this {
    return callInPlace(this, lazy(137, 'aten::mul_.Tensor'), other);
  }

  /** `aten::div_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)` */
  div_(other: Tensor | number | boolean): this {
    return callInPlace(this, lazy(138, 'aten::div_.Tensor'), other);
  }

  /** `aten::clamp_(Tensor(a!) self, Scalar? min=None, Scalar? max=None) -> Tensor(a!)` */
  clamp_(min?: number | bigint | boolean | null, max?: number | bigint | boolean | null): this {
    return callInPlace(this, lazy(139, 'aten::clamp_'), min, max);
  }

  /** `aten::lerp_.Scalar(Tensor(a!) self, Tensor end, Scalar weight) -> Tensor(a!)` */
  lerp_(end: Tensor, weight: number | bigint | boolean): this {
    return callInPlace(this, lazy(140, 'aten::lerp_.Scalar'), end, weight);
  }

  /** `aten::addcmul_(Tensor(a!) self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor(a!)` */
  addcmul_(tensor1: Tensor, tensor2: Tensor, options?: { value?: number | bigint | boolean }): this {
    return callInPlace(this, lazy(141, 'aten::addcmul_'), tensor1, tensor2, options?.value);
  }

  /** `aten::addcdiv_(Tensor(a!) self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor(a!)` */
  addcdiv_(tensor1: Tensor, tensor2: Tensor, options?: { value?: number | bigint | boolean }): this {
    return callInPlace(this, lazy(142, 'aten::addcdiv_'), tensor1, tensor2, options?.value);
  }

  /** `aten::sqrt_(Tensor(a!) self) -> Tensor(a!)` */
  sqrt_(): this {
    return callInPlace(this, lazy(143, 'aten::sqrt_'));
  }

  /** `aten::scatter_.src(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)` */
  scatter_(dim: number, index: Tensor, src: Tensor): this {
    return callInPlace(this, lazy(144, 'aten::scatter_.src'), dim, index, src);
  }

  /** `aten::scatter_add_(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)` */
  scatterAdd_(dim: number, index: Tensor, src: Tensor): this {
    return callInPlace(this, lazy(145, 'aten::scatter_add_'), dim, index, src);
  }

  /** `aten::index_add_(Tensor(a!) self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor(a!)` */
  indexAdd_(dim: number, index: Tensor, source: Tensor, options?: { alpha?: number | bigint | boolean }): this {
    return callInPlace(this, lazy(146, 'aten::index_add_'), dim, index, source, options?.alpha);
  }

  /** `aten::index_copy_(Tensor(a!) self, int dim, Tensor index, Tensor source) -> Tensor(a!)` */
  indexCopy_(dim: number, index: Tensor, source: Tensor): this {
    return callInPlace(this, lazy(147, 'aten::index_copy_'), dim, index, source);
  }

  /** `aten::index_put_(Tensor(a!) self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor(a!)` */
  indexPut_(indices: readonly (Tensor | null)[], values: Tensor, accumulate?: boolean): this {
    return callInPlace(this, lazy(148, 'aten::index_put_'), indices, values, accumulate);
  }

  /** `aten::masked_fill_.Scalar(Tensor(a!) self, Tensor mask, Scalar value) -> Tensor(a!)` */
  maskedFill_(mask: Tensor, value: number | bigint | boolean): this {
    return callInPlace(this, lazy(149, 'aten::masked_fill_.Scalar'), mask, value);
  }

  /** `aten::sign_(Tensor(a!) self) -> Tensor(a!)` */
  sign_(): this {
    return callInPlace(this, lazy(150, 'aten::sign_'));
  }

  /** `aten::neg_(Tensor(a!) self) -> Tensor(a!)` */
  neg_(): this {
    return callInPlace(this, lazy(151, 'aten::neg_'));
  }

  /** `aten::exp_(Tensor(a!) self) -> Tensor(a!)` */
  exp_(): this {
    return callInPlace(this, lazy(152, 'aten::exp_'));
  }

  /** `aten::normal_(Tensor(a!) self, float mean=0., float std=1., *, Generator? generator=None) -> Tensor(a!)` */
  normal_(mean?: number, std?: number, options?: { generator?: Generator | null }): this {
    return callInPlace(this, lazy(153, 'aten::normal_'), mean, std, options?.generator);
  }

  /** `aten::uniform_(Tensor(a!) self, float from=0., float to=1., *, Generator? generator=None) -> Tensor(a!)` */
  uniform_(from?: number, to?: number, options?: { generator?: Generator | null }): this {
    return callInPlace(this, lazy(154, 'aten::uniform_'), from, to, options?.generator);
  }

  /** `aten::bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)` */
  bernoulli_(p?: number, options?: { generator?: Generator | null }): this {
    return callInPlace(this, lazy(155, 'aten::bernoulli_.float'), p, options?.generator);
  }

  /** `aten::exponential_(Tensor(a!) self, float lambd=1., *, Generator? generator=None) -> Tensor(a!)` */
  exponential_(lambd?: number, options?: { generator?: Generator | null }): this {
    return callInPlace(this, lazy(156, 'aten::exponential_'), lambd, options?.generator);
  }

  /** `aten::random_(Tensor(a!) self, *, Generator? generator=None) -> Tensor(a!)` */
  random_(options?: { generator?: Generator | null }): this {
    return callInPlace(this, lazy(157, 'aten::random_'), options?.generator);
  }

  /** `aten::multinomial(Tensor self, SymInt num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor` */
  multinomial(numSamples: number, replacement?: boolean, options?: { generator?: Generator | null }): Tensor {
    return callTensor(lazy(158, 'aten::multinomial'), this, numSamples, replacement, options?.generator);
  }

  /** `aten::bernoulli(Tensor self, *, Generator? generator=None) -> Tensor` */
  bernoulli(options?: { generator?: Generator | null }): Tensor {
    return callTensor(lazy(159, 'aten::bernoulli'), this, options?.generator);
  }

  /** `aten::dropout(Tensor input, float p, bool train) -> Tensor` */
  dropout(p: number, train: boolean): Tensor {
    return callTensor(lazy(160, 'aten::dropout'), this, p, train);
  }

  /** `aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor` */
  embedding(indices: Tensor, paddingIdx?: number, scaleGradByFreq?: boolean, sparse?: boolean): Tensor {
    return callTensor(lazy(161, 'aten::embedding'), this, indices, paddingIdx, scaleGradByFreq, sparse);
  }

  /** `aten::as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor(a)` */
  asStrided(size: number | readonly number[], stride: number | readonly number[], storageOffset?: number | null): Tensor {
    return callTensor(lazy(162, 'aten::as_strided'), this, size, stride, storageOffset);
  }
}
