import type { Context } from 'hono';
import type { z } from 'zod';
import { ApiError } from './api-error.js';
import type { ServedModel } from './service.js';

/** A request's body by a schema. @throws ApiError naming what is wrong with it, or that its model is another */
export async function readRequest<S extends z.ZodType<{ model: string }>>(
  c: Context,
  schema: S,
  model: ServedModel,
): Promise<z.output<S>> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(400, 'the body is no JSON');
  }
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
    const param = [...(issue?.path ?? []), ...unknown].join('.');
    const why = unknown.length === 0 ? (issue?.message ?? 'not as expected') : 'is not served here';
    throw new ApiError(400, `${param === '' ? 'the body' : param}: ${why}`, param === '' ? {} : { param });
  }
  requireModel(parsed.data.model, model);
  return parsed.data;
}

/** @throws ApiError when another model is asked for than the one there is */
export function requireModel(asked: string, { name }: ServedModel): void {
  if (asked === name) return;
  throw new ApiError(
    404,
    `the model ${JSON.stringify(asked.slice(0, 200))} is not here; this is ${JSON.stringify(name)}`,
    { code: 'model_not_found', param: 'model' },
  );
}
