import test from "ava";
import fc from "fast-check";
import {
  defaultChatTemplate,
  readChatTemplate,
} from "../../../../server/rpc/rest/openai/chat-template.ts";

const chat = [
  { role: "system", content: "be brief" },
  { role: "user", content: "{{role}} & <b>" },
  { role: "assistant", content: "ok" },
];

test("messages stand once each, roles choose what stands for them, values as they are", (t) => {
  t.is(
    readChatTemplate(defaultChatTemplate)(chat),
    "system: be brief\nuser: {{role}} & <b>\nassistant: ok\nassistant:",
  );
  // Llama 3's and Gemma's forms.
  t.is(
    readChatTemplate(
      "<s>{{#messages}}<|{{ role }}|>\n\n{{content}}<|eot|>{{/messages}}<|assistant|>\n\n",
    )(chat.slice(1)),
    "<s><|user|>\n\n{{role}} & <b><|eot|><|assistant|>\n\nok<|eot|><|assistant|>\n\n",
  );
  t.is(
    readChatTemplate(
      "{{#messages}}{{#user}}<user>{{content}}</user>{{/user}}{{#assistant}}<model>{{content}}</model>{{/assistant}}{{/messages}}<model>",
    )(chat),
    "<user>{{role}} & <b></user><model>ok</model><model>",
  );
  t.is(readChatTemplate("{{#messages}}{{content}}{{/messages}}")([]), "");
});

test("text without tags stays as it is", (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, after) => {
      fc.pre(!/\{\{|\{$/.test(before) && !after.includes("{{"));
      const template = readChatTemplate(`${before}{{#messages}}{{content}}{{/messages}}${after}`);
      return template([{ role: "user", content: "x" }]) === `${before}x${after}`;
    }),
  );
  t.pass();
});

for (const [template, message] of [
  ["plain", /has no \{\{#messages\}\}/],
  ["{{role}}{{#messages}}{{/messages}}", /has \{\{role\}\}; .* stand in/],
  ["{{#messages}}{{name}}{{/messages}}", /has \{\{name\}\}/],
  ["{{#messages}}", /does not close \{\{#messages\}\}/],
  ["{{#messages}}{{#user}}{{/messages}}", /closes \{\{\/messages\}\}, which is not open/],
  ["{{/messages}}", /closes \{\{\/messages\}\}, which is not open/],
  ["{{#user}}{{/user}}", /has \{\{#user\}\}; roles stand in/],
  ["{{#messages}}{{#messages}}{{/messages}}{{/messages}}", /has \{\{#messages\}\}/],
  ["{{#messages}}{{content }{{/messages}}", /at position 13 without a name/],
] as const) {
  test(`refused: ${template}`, (t) => {
    t.throws(() => readChatTemplate(template), { message });
  });
}
