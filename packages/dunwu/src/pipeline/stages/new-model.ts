import type { Device } from '@dunwu/torch';
import type { z } from 'zod';
import { CausalModel } from '../../model/causal-model.js';
import { parseConfig } from '../../model/config.js';
import type { deepseekV3PretrainShape } from '../../model/deepseek-config.js';
import { modelSize } from '../../model/size.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { countFlops } from '../../train/flops.js';
import type { Note, StageContext } from '../stage.js';

/**
 * A model with fresh weights for a tokenizer; seed the default generator first. Its size is logged.
 * @param key of the recipe that has the shape, for errors
 */
export function newModel(
  ctx: StageContext,
  shape: z.output<typeof deepseekV3PretrainShape>,
  tokenizer: Tokenizer,
  key: string,
  device: Device,
): CausalModel {
  const model = new CausalModel(
    parseConfig(
      {
        ...shape,
        vocab_size: tokenizer.vocab_size,
        bos_token_id: tokenizer.special_id('bos'),
        eos_token_id: tokenizer.special_id('eos'),
        pad_token_id: tokenizer.special_id('pad'),
      },
      `stage '${ctx.name}', key ${key}`,
    ),
    device,
  );
  const { total, prediction } = modelSize(model.config);
  const millions = (count: number): string => `${(count / 1e6).toFixed(2)} M`;
  const modules = prediction === null ? '' : ` and ${millions(prediction.total)} for multi-token prediction`;
  ctx.log(`${ctx.name}: a model of ${millions(total)} parameters${modules}, vocabulary ${tokenizer.vocab_size}`);
  return model;
}

export function parameterCount(model: CausalModel): number {
  return model.parameters().reduce((sum, { tensor }) => sum + tensor.numel, 0);
}

/** What latent attention and sparse experts save: parameters that a token meets, and bytes that the cache holds for it. */
export function savingsNote(model: CausalModel): Note {
  const { config } = model;
  // The embedding is looked up, not multiplied with; a head that shares its matrix is.
  const { activeParameters: active } = countFlops(config);
  const { total: all, cache, plainCache, prediction } = modelSize(config);
  const [latent, plain] = [cache, plainCache].map((numbers) => numbers * Float32Array.BYTES_PER_ELEMENT);
  const share = `${((100 * cache) / plainCache).toFixed(1)} %`;
  const modules =
    prediction === null
      ? { en: '', zh: '' }
      : {
          en: `; ${prediction.total} more in ${prediction.modules} module(s) for multi-token prediction`,
          zh: `；另有 ${prediction.modules} 个多 token 预测模块，共 ${prediction.total} 个参数`,
        };
  return {
    en:
      `${all} parameters, of which a token is multiplied with ${active}; the cache holds ${latent} bytes a token (float32), ` +
      `keys and values of plain multi-head attention would be ${plain} (${share})${modules.en}`,
    zh: `${all} 个参数，每个 token 参与相乘的有 ${active} 个；缓存每个 token ${latent} 字节（float32），普通多头注意力的键和值则要 ${plain} 字节（${share}）${modules.zh}`,
  };
}
