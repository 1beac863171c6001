/** libtorch for TypeScript. Start with `tensor()`, `scope()` and the methods of `Tensor`. */
export { autocast, backward, enableGrad, type GradOptions, grad, noGrad } from './autograd.js';
export { clipGradients, clipGradNorm, gradNorm } from './clip.js';
export { type Device, type DType, isFloating, itemSize } from './dtype.js';
export { shareMemory, type TensorOptions, tensor } from './factory.js';
export * from './fused.js';
export * from './generated/functions.js';
export { Graph, hasGraphs } from './graph.js';
export { copyToDevice, copyToHost } from './host-copy.js';
export { addonPath, type NumericArray, type RuntimeInfo, type Schema, type SchemaArgument } from './native.js';
export { type Operator, type OperatorResult, op, schemas } from './operator.js';
export { AdamW, type AdamWOptions } from './optim/adamw.js';
export { Muon, type MuonOptions, newtonSchulz } from './optim/muon.js';
export type { ParameterGroup } from './optim/parameters.js';
export * from './profile.js';
export { Generator, getRandomState, manualSeed, setRandomState } from './random.js';
export { readNumbers } from './read.js';
export * from './reference.js';
export * from './runtime.js';
export {
  type NamedTensors,
  openSafetensors,
  type TensorInfo,
  type TensorSource,
  writeSafetensors,
} from './safetensors.js';
export { type CheckpointOptions, openCheckpoint, writeCheckpoint } from './safetensors-checkpoint.js';
export { SafetensorsError } from './safetensors-header.js';
export { keep, liveTensors, scope } from './scope.js';
export { Tensor } from './tensor.js';
