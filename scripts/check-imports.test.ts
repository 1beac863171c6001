import { describe, expect, it } from 'vitest';
import { checkFile, folderOf, objection, specifiers } from './check-imports.mjs';

describe('specifiers', () => {
  it('finds every form of import with its line', () => {
    const source = [
      "import { a } from './a.js';",
      "import type { B } from '../b/b.js';",
      "import './side-effect.js';",
      'import {',
      '  c,',
      "} from '@dunwu/torch';",
      "export * from './d.js';",
      "const e = await import('../e/e.js');",
      "// import { no } from './comment.js';",
      "/* import no from './block.js' */",
      "const text = 'this is imported from nowhere';",
    ].join('\n');
    expect(specifiers(source)).toEqual([
      { name: './a.js', line: 1 },
      { name: '../b/b.js', line: 2 },
      { name: './side-effect.js', line: 3 },
      { name: '@dunwu/torch', line: 6 },
      { name: './d.js', line: 7 },
      { name: '../e/e.js', line: 8 },
    ]);
  });
});

describe('folderOf', () => {
  it('names the layer folder of a file', () => {
    expect(folderOf('packages/dunwu/src/train/grpo.ts')).toBe('train');
    expect(folderOf('packages/dunwu/src/text/testing/x.ts')).toBe('text');
    expect(folderOf('packages/torch/src/tensor.ts')).toBe('torch');
    expect(folderOf('packages/dunwu/src/index.ts')).toBeNull();
  });
});

describe('objection', () => {
  it('allows imports of lower layers and of the own folder', () => {
    for (const [from, to] of [
      ['cli', 'pipeline'],
      ['cli', 'util'],
      ['train', 'objective'],
      ['model', 'torch'],
      ['text', 'util'],
      ['reward', 'task'],
      ['model', 'model'],
    ] as const) {
      expect(objection(from, to), `${from} → ${to}`).toBeNull();
    }
  });

  it('refuses imports of higher layers, of neighbours, and by torch', () => {
    expect(objection('model', 'train')).toBe('train is above model');
    expect(objection('util', 'text')).toBe('text is above util');
    expect(objection('task', 'reward')).toBe('task and reward are in the same layer and do not know each other');
    expect(objection('torch', 'model')).toBe('model is above torch');
    expect(objection('torch', 'util')).toBe('@dunwu/torch is useful on its own and imports nothing of dunwu');
    expect(objection('wherever', 'util')).toContain('add it to LAYERS');
    expect(objection('train', null)).toContain('index');
  });
});

describe('checkFile', () => {
  it('reports file, line and reason', () => {
    const source = "import { x } from './x.js';\nimport { run } from '../pipeline/run.js';\nimport { z } from 'zod';\n";
    expect(checkFile('packages/dunwu/src/model/config.ts', source)).toEqual([
      {
        file: 'packages/dunwu/src/model/config.ts',
        line: 2,
        name: '../pipeline/run.js',
        why: 'pipeline is above model',
      },
    ]);
  });

  it('leaves tests and their helpers alone', () => {
    const source = "import { run } from '../pipeline/run.js';";
    expect(checkFile('packages/dunwu/src/model/config.test.ts', source)).toEqual([]);
    expect(checkFile('packages/dunwu/src/model/testing/scene.ts', source)).toEqual([]);
    expect(checkFile('packages/dunwu/src/model/config.ts', source)).toHaveLength(1);
  });

  it('sees a relative path into the other package', () => {
    const source = "import { Random } from '../../dunwu/src/util/random.js';";
    expect(checkFile('packages/torch/src/tensor.ts', source)).toHaveLength(1);
  });
});
