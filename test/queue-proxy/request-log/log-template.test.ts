import test from "ava";
import { compileLogTemplate } from "../../../server/queue-proxy/request-log/log-template.ts";

const values = {
  Request: {
    Method: "GET",
    RequestURI: '/a?b="c"&d=<e>',
    Header: { "User-Agent": ["curl", "again"] },
  },
  Response: { Code: 200, Size: 12, Latency: 0.25 },
};

// What Go's text/template writes for the same.
for (const [template, expected] of [
  ["plain", "plain"],
  ["{{.Request.Method}} {{.Response.Code}} {{.Response.Latency}}s", "GET 200 0.25s"],
  ["{{js .Request.RequestURI}}", '/a?b\\u003D\\"c\\"\\u0026d\\u003D\\u003Ce\\u003E'],
  ["{{html .Request.RequestURI}}", "/a?b=&#34;c&#34;&amp;d=&lt;e&gt;"],
  ['{{index .Request.Header "User-Agent"}}', "[curl again]"],
  ['{{index .Request.Header "Absent"}}', "[]"],
  ['{{index (index .Request.Header "User-Agent") 1}}', "again"],
  ["{{.Request.Method | js}}", "GET"],
  ['{{printf "%s-%d %q" .Request.Method .Response.Size "x"}}', 'GET-12 "x"'],
  ["{{len .Request.Method}}", "3"],
  ["a {{- .Request.Method -}} b", "aGETb"],
  ["{{/* a remark */}}x", "x"],
  ["{{.Request.Nothing}}", "<no value>"],
] as const) {
  test(`the template ${template}`, (t) => {
    t.is(compileLogTemplate(template)(values), expected);
  });
}

for (const template of ["{{", "{{if .X}}", "{{range .X}}", "{{nosuch .X}}", "{{}}"]) {
  test(`${template} is refused`, (t) => {
    t.throws(() => compileLogTemplate(template));
  });
}
