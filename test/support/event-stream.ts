/** Reads server-sent events as they come; a line that is no data is an error. */
export async function* readEvents(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const [, data] = /^data: (.*)$/.exec(text.slice(0, end)) ?? [];
      if (data === undefined) throw new Error(`no event of data: ${JSON.stringify(text)}`);
      yield data;
      text = text.slice(end + 2);
    }
  }
  if (text !== "") throw new Error(`the stream ends within an event: ${JSON.stringify(text)}`);
}

/** All of them, each as what its JSON says. */
export async function allEvents(response: Response): Promise<unknown[]> {
  const events: unknown[] = [];
  for await (const data of readEvents(response)) events.push(JSON.parse(data));
  return events;
}
