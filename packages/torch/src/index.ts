/** libtorch for TypeScript. Start with `tensor()`, `scope()` and the methods of `Tensor`. */
export { autocast, backward, enableGrad, type GradOptions, grad, noGrad } from './autograd.js';
export { type Device, type DType, isFloating, itemSize } from './dtype.js';
export { shareMemory, type TensorOptions, tensor } from './factory.js';
export * from './fused.js';
export * from './generated/functions.js';
export { addonPath, type NumericArray, type RuntimeInfo, type Schema, type SchemaArgument } from './native.js';
export { type Operator, type OperatorResult, op, schemas } from './operator.js';
export { Generator, getRandomState, manualSeed, setRandomState } from './random.js';
export * from './reference.js';
export * from './runtime.js';
export { keep, liveTensors, scope } from './scope.js';
export { Tensor } from './tensor.js';
