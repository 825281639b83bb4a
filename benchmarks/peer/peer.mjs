// Peer of the contest: Chat SDK on Slack, with its state and the history of each thread in Redis.
// Takes the bot's variables; it has no leases, and acknowledges an event before it has stored anything.
import { createClient } from "redis";
import { Chat } from "chat";
import { createSlackAdapter } from "@chat-adapter/slack";
import { createRedisState } from "@chat-adapter/state-redis";

const KEPT = { maxLength: 40, ttlMs: 30 * 24 * 3600 * 1000 };

const { env } = process;
const client = createClient({ socket: { path: decodeURIComponent(env.REDIS_URL.replace("unix://", "")) } });
await client.connect();
const state = createRedisState({ client });
const bot = new Chat({
  userName: "bot",
  logger: "silent",
  adapters: {
    slack: createSlackAdapter({
      mode: "socket",
      botToken: env.SLACK_BOT_TOKEN,
      appToken: env.SLACK_APP_TOKEN,
      apiUrl: env.SLACK_API_URL,
    }),
  },
  state,
  concurrency: "queue",
});

async function* answer(messages) {
  const response = await fetch(`${env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${env.OPENAI_API_KEY}` },
    body: JSON.stringify({
      model: env.OPENAI_MODEL,
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: "system", content: "Be brief." }, ...messages],
    }),
  });
  if (!response.ok) throw new Error(`the model answered ${response.status}`);
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const text = JSON.parse(line.slice(6)).choices?.[0]?.delta?.content;
      if (text) yield text;
    }
  }
}

async function reply(thread, message) {
  const key = `history:${thread.id}`;
  const question = { role: "user", content: message.text };
  const history = await state.getList(key);
  await state.appendToList(key, question, KEPT);
  let text = "";
  async function* shown() {
    for await (const piece of answer([...history, question])) {
      text += piece;
      yield piece;
    }
  }
  await thread.post(shown());
  await state.appendToList(key, { role: "assistant", content: text }, KEPT);
}

bot.onNewMention(async (thread, message) => {
  await thread.subscribe();
  await reply(thread, message);
});
bot.onSubscribedMessage(reply);
await bot.initialize();
process.on("SIGTERM", () => process.exit(0));
