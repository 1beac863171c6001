import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContinuousEngine } from '../rollout/continuous-engine.js';
import { ApiError, apiError } from './api-error.js';
import { chatCompletions } from './chat-completions.js';
import { completions } from './completions.js';
import { guard } from './guard.js';
import { requireModel } from './read-request.js';
import type { ServedModel, ServerSettings, Service } from './service.js';

const BODY_BYTES = 8 * 2 ** 20;

/**
 * OpenAI's API over one model: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, and `/health`. A client that goes
 * away takes its request out.
 */
export function createApp(engine: ContinuousEngine, model: ServedModel, settings: ServerSettings): Hono {
  const app = new Hono();
  const service: Service = { engine, model, settings };
  const created = Math.floor(Date.now() / 1000);
  const shown = { id: model.name, object: 'model', created, owned_by: 'dunwu' };
  const { bodyBytes = BODY_BYTES } = settings;

  guard(app, settings);
  app.use(
    bodyLimit({
      maxSize: bodyBytes,
      onError: () => {
        throw new ApiError(413, `the body has more than ${bodyBytes} bytes`);
      },
    }),
  );
  app.get('/health', (c) => c.json({ status: 'ok', ...engine.load }));
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [shown] }));
  app.get('/v1/models/:id{.+}', (c) => {
    requireModel(c.req.param('id'), model);
    return c.json(shown);
  });
  app.post('/v1/chat/completions', (c) => chatCompletions(c, service));
  app.post('/v1/completions', (c) => completions(c, service));
  app.notFound((c) => {
    const error = new ApiError(404, `there is no ${c.req.method} ${new URL(c.req.url).pathname} here`);
    return c.json(error.body, error.status);
  });
  app.onError((thrown, c) => {
    const error = apiError(thrown);
    if (error.status === 429) c.header('Retry-After', '1');
    return c.json(error.body, error.status);
  });
  return app;
}
