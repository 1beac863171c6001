// Writes src/generated/{methods,functions}.ts from the schemas of the libtorch that the addon is linked with.
// Run after changing the lists below:  node packages/torch/scripts/generate.mjs
// With --check nothing is written: exit code 1 when the files differ from what would be. They are not comparable when
// they were generated with another version of libtorch, whose schemas may differ; that is said, and is no failure.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = new URL('..', import.meta.url);
const native = createRequire(import.meta.url)(fileURLToPath(new URL('build/dunwu_torch.node', root)));

// TypeScript name (camelCase) = operator. A name without '=' is the operator's own, in camel case.
const METHODS = `
add.Tensor sub.Tensor mul.Tensor div.Tensor neg abs exp log log2 log1p expm1 sqrt rsqrt square reciprocal sin cos tanh sigmoid relu silu gelu
sign floor ceil round trunc erf clamp clampMin=clamp_min clampMax=clamp_max
pow=pow.Tensor_Scalar powTensor=pow.Tensor_Tensor remainder=remainder.Tensor floorDivide=floor_divide fmod=fmod.Tensor
maximum minimum eq=eq.Tensor ne=ne.Tensor lt=lt.Tensor le=le.Tensor gt=gt.Tensor ge=ge.Tensor
logicalAnd=logical_and logicalOr=logical_or logicalNot=logical_not bitwiseAnd=bitwise_and.Tensor bitwiseOr=bitwise_or.Tensor
isnan isinf isfinite nanToNum=nan_to_num
sum=sum.dim_IntList mean=mean.dim prod variance=var.correction std=std.correction amax amin argmax argmin all any
maxDim=max.dim minDim=min.dim median cumsum cumprod logsumexp norm=linalg_vector_norm
topk sort argsort softmax=softmax.int logSoftmax=log_softmax.int
matmul mm bmm mv dot addmm baddbmm linear
transpose=transpose.int t permute reshape view expand contiguous unsqueeze squeeze=squeeze.dim flatten=flatten.using_ints narrow slice=slice.Tensor
select=select.int split=split.Tensor splitSizes=split_with_sizes chunk unbind=unbind.int movedim=movedim.int flip roll unfold tril triu diagonal
repeat repeatInterleave=repeat_interleave.self_int repeatInterleaveTensor=repeat_interleave.self_Tensor
gather scatter=scatter.src scatterValue=scatter.value scatterAdd=scatter_add indexSelect=index_select indexAdd=index_add index=index.Tensor
indexPut=index_put maskedFill=masked_fill.Scalar maskedSelect=masked_select maskedScatter=masked_scatter take_along_dim
nonzero bincount unique_consecutive detach clone to=to.dtype toDevice=to.device toOther=to.other viewDtype=view.dtype
zero_ fill_=fill_.Scalar copy_ add_=add_.Tensor sub_=sub_.Tensor mul_=mul_.Tensor div_=div_.Tensor clamp_ lerp_=lerp_.Scalar addcmul_ addcdiv_ sqrt_
scatter_=scatter_.src scatterAdd_=scatter_add_ indexAdd_=index_add_ indexCopy_=index_copy_ indexPut_=index_put_ maskedFill_=masked_fill_.Scalar sign_ neg_ exp_
normal_ uniform_ bernoulli_=bernoulli_.float exponential_ random_
multinomial bernoulli dropout embedding=embedding asStrided=as_strided
`;
const FUNCTIONS = `
zeros ones full empty=empty.memory_format arange=arange.start_step linspace eye rand=rand.generator randn=randn.generator randint=randint.low_generator randperm=randperm.generator
zerosLike=zeros_like onesLike=ones_like emptyLike=empty_like fullLike=full_like randnLike=randn_like
cat stack where=where.self einsum outer searchsorted=searchsorted.Tensor
crossEntropyLoss=cross_entropy_loss nllLoss=nll_loss binaryCrossEntropyWithLogits=binary_cross_entropy_with_logits
layerNorm=layer_norm rmsNorm=rms_norm embeddingLookup=embedding oneHot=one_hot scaledDotProductAttention=scaled_dot_product_attention
blockDiag=block_diag fromFile=from_file padConstant=constant_pad_nd
foreachNorm=_foreach_norm.Scalar foreachMul_=_foreach_mul_.Scalar foreachMulTensor_=_foreach_mul_.Tensor foreachAdd_=_foreach_add_.Scalar foreachAddList_=_foreach_add_.List
foreachZero_=_foreach_zero_ foreachCopy_=_foreach_copy_ foreachLerp_=_foreach_lerp_.Scalar
fusedAdamw_=_fused_adamw_
`;

const camel = (name) => name.replace(/(?<=[a-zA-Z0-9])_([a-z0-9])/g, (_, c) => c.toUpperCase());
const parse = (text) =>
  text
    .trim()
    .split(/\s+/)
    .map((word) => {
      const [left, right] = word.includes('=') ? word.split('=') : [null, word];
      const dot = right.indexOf('.');
      const name = dot < 0 ? right : right.slice(0, dot);
      const overload = dot < 0 ? '' : right.slice(dot + 1);
      const schema = native.schema(`aten::${name}`).find((s) => s.overload === overload);
      if (!schema) {
        console.error(
          `no operator aten::${right}; overloads: ${native.schema(`aten::${name}`).map((s) => s.overload || '(default)')}`,
        );
        process.exit(1);
      }
      return { js: left ?? camel(name), full: `aten::${right}`, schema };
    });

const SCALARS = {
  Tensor: 'Tensor | number | boolean',
  Scalar: 'number | bigint | boolean',
  number: 'number | bigint | boolean',
  int: 'number',
  SymInt: 'number',
  float: 'number',
  bool: 'boolean',
  str: 'string',
  ScalarType: 'DType',
  Device: 'Device',
  Layout: "'strided'",
  Generator: 'Generator',
  MemoryFormat: "'contiguous_format' | 'preserve_format' | 'channels_last'",
};
function tsType(type, { result = false } = {}) {
  if (type.endsWith('?')) return `${tsType(type.slice(0, -1), { result })} | null`;
  const list = /^(.*)\[\d*\]$/.exec(type);
  if (list) {
    const inner = list[1] === 'Tensor' ? 'Tensor' : tsType(list[1], { result: true });
    const array = /[| ]/.test(inner) ? `readonly (${inner})[]` : `readonly ${inner}[]`;
    if (result) return array.replace('readonly ', '');
    return list[1] === 'int' || list[1] === 'SymInt' ? `number | ${array}` : array;
  }
  if (result && type === 'Tensor') return 'Tensor';
  if (result && (type === 'Scalar' || type === 'number')) return 'number';
  const known = SCALARS[type];
  if (!known) throw new Error(`type ${type}`);
  return known;
}
const RESERVED = new Set(['function', 'default', 'in', 'new', 'this', 'var', 'with', 'self']);
const ident = (name) => (RESERVED.has(name) ? `${name}_` : camel(name));

let slot = 0;
const used = new Set();
function emit({ js, full, schema }, method) {
  const args = schema.arguments.filter((a, i) => !(method && i === 0) && !['layout', 'pin_memory'].includes(a.name));
  const positional = args.filter((a) => !a.kwarg);
  const named = args.filter((a) => a.kwarg);
  const tensorOnly = (a) =>
    a.type === 'Tensor' && !['other', 'exponent', 'value'].includes(a.name) ? 'Tensor' : tsType(a.type);
  for (const a of args)
    for (const word of ['Tensor', 'DType', 'Device', 'Generator'])
      if (tsType(a.type).includes(word)) used.add(`${method ? 'm' : 'f'}:${word}`);
  // TypeScript wants required parameters first: after the first optional one all are optional.
  let optional = false;
  const optionalNames = [];
  const parameters = positional.map((a) => {
    const skippable = a.default !== undefined || a.type.endsWith('?');
    optional ||= skippable;
    optionalNames.push(a);
    const type = tensorOnly(a);
    return `${ident(a.name)}${optional ? '?' : ''}: ${type}`;
  });
  if (named.length > 0) {
    const required = named.some((a) => a.default === undefined && !a.type.endsWith('?'));
    const fields = named.map(
      (a) => `${ident(a.name)}${a.default !== undefined || a.type.endsWith('?') ? '?' : ''}: ${tensorOnly(a)}`,
    );
    parameters.push(`options${required ? '' : '?'}: { ${fields.join('; ')} }`);
  }
  const pass = schema.arguments.map((a, i) => {
    if (method && i === 0) return 'this';
    if (['layout', 'pin_memory'].includes(a.name)) return 'undefined';
    // JavaScript cannot write 0.0: without a dtype, full() of a whole number would silently be int64.
    if (js === 'full' && a.name === 'dtype') return "options?.dtype ?? 'float32'";
    return a.kwarg ? `options?.${ident(a.name)}` : ident(a.name);
  });
  while (pass.at(-1) === 'undefined') pass.pop();
  const inPlace = schema.arguments[0]?.write === true;
  const returns = schema.returns.map((r) => tsType(r.type, { result: true }));
  const index = `lazy(${slot++}, '${full}')`;
  let result;
  let body;
  if (inPlace && method) {
    result = 'this';
    body = `return callInPlace(this, ${[index, ...pass.slice(1)].join(', ')});`;
  } else if (inPlace) {
    result = 'void';
    body = `callAny(${[index, ...pass].join(', ')});`;
  } else if (returns.length === 1 && returns[0] === 'Tensor') {
    result = 'Tensor';
    body = `return callTensor(${[index, ...pass].join(', ')});`;
  } else {
    result = returns.length === 0 ? 'void' : returns.length === 1 ? returns[0] : `[${returns.join(', ')}]`;
    body =
      returns.length === 0
        ? `callAny(${[index, ...pass].join(', ')});`
        : `return callAny(${[index, ...pass].join(', ')}) as ${result};`;
  }
  const doc = `/** \`${schema.text.replaceAll('*/', '* /')}\` */`;
  return method
    ? `  ${doc}\n  ${js}(${parameters.join(', ')}): ${result} {\n    ${body}\n  }\n`
    : `${doc}\nexport function ${js}(${parameters.join(', ')}): ${result} {\n  ${body}\n}\n`;
}

const methods = parse(METHODS).map((entry) => emit(entry, true));
const functions = parse(FUNCTIONS).map((entry) => emit(entry, false));
const { version } = native.runtimeInfo();
const head = `// Generated from the schemas of libtorch ${version} by scripts/generate.mjs: do not edit.\n`;
const typesFor = (kind) => {
  const dtypes = ['Device', 'DType'].filter((w) => used.has(`${kind}:${w}`));
  return (
    (dtypes.length ? `import type { ${dtypes.join(', ')} } from '../dtype.js';\n` : '') +
    (used.has(`${kind}:Generator`) ? "import type { Generator } from '../random.js';\n" : '')
  );
};
const calls = (text) =>
  ['callAny', 'callInPlace', 'callTensor', 'lazy'].filter((f) => text.includes(`${f}(`)).join(', ');
const methodText = methods.join('\n');
const functionText = functions.join('\n');
const files = {
  'src/generated/methods.ts': `${head}${typesFor('m')}import { ${calls(methodText)} } from '../operator.js';\nimport type { Tensor } from '../tensor.js';\n\nexport abstract class TensorOperators {\n${methodText}}\n`,
  'src/generated/functions.ts': `${head}${typesFor('f')}import { ${calls(functionText)} } from '../operator.js';\nimport type { Tensor } from '../tensor.js';\n\n${functionText}`,
};
if (process.argv.includes('--check')) check();
else {
  for (const [file, text] of Object.entries(files)) writeFileSync(new URL(file, root), text);
  console.log(`${methods.length} methods, ${functions.length} functions`);
}

function check() {
  for (const [file, text] of Object.entries(files)) {
    const written = readFileSync(new URL(file, root), 'utf8');
    const from = /libtorch (\S+)/.exec(written.slice(0, written.indexOf('\n')))?.[1];
    if (from !== version) {
      console.log(`${file}: not compared: generated with libtorch ${from}, this is ${version}`);
      continue;
    }
    const lines = text.split('\n');
    const old = written.split('\n');
    const differs = lines.findIndex((line, i) => line !== old[i]);
    if (differs < 0 && lines.length === old.length) console.log(`${file}: up to date`);
    else {
      console.error(`${file}:${differs + 1}: is not what scripts/generate.mjs writes; run it again`);
      process.exitCode = 1;
    }
  }
}
