import test from "ava";
import fc from "fast-check";
import { RequestUrls } from "../../server/wire/request-url.ts";

test("a URL is scheme, authority and target", (t) => {
  const urls = new RequestUrls();
  t.is(urls.of("http", "a:80", "/x?y=1"), "http://a:80/x?y=1");
  t.is(urls.of("https", "a:80", "/x"), "https://a:80/x");
  t.is(urls.of("https", undefined, "/x"), "https://localhost/x");
  t.is(urls.of("http", "[::1]:8080", "/"), "http://[::1]:8080/");
});

test("an authority that is no host becomes localhost", (t) => {
  const urls = new RequestUrls();
  for (const bad of ["", "a b", "a/b", "1.2.3.999", "a:99999999", "]]", "u@h", "a?b", "a#b"]) {
    t.is(urls.of("http", bad, "/x"), "http://localhost/x", bad);
  }
});

test("a target in absolute or other form gives its path", (t) => {
  const urls = new RequestUrls();
  t.is(urls.of("http", "a", "http://b/c?d"), "http://a/c?d");
  t.is(urls.of("http", "a", "HTTPS://b"), "http://a/");
  t.is(urls.of("http", "a", "*"), "http://a/*");
});

test("every URL can be parsed", (t) => {
  const urls = new RequestUrls();
  fc.assert(
    fc.property(fc.string(), fc.string({ unit: "binary-ascii" }), (authority, target) => {
      t.true(URL.canParse(urls.of("http", authority, target)));
    }),
  );
});
