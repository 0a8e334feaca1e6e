// Stands in for the extension host: keeps what the panel posts, answers its requests, sends what a test gives.
(() => {
  const posted = [];
  const params = new URLSearchParams(location.search);
  let state;
  let keys = false;
  let session = "s1";
  let ready;
  // Bytes do not travel from the harness to the page: text becomes bytes here.
  const asHost = ({ text, ...message }) => (message.type === "snapshot" ? { ...message, json: new TextEncoder().encode(text) } : { text, ...message });
  const send = (message) => window.postMessage(asHost(message), "*");
  const whenReady = new Promise((resolve) => {
    ready = resolve;
  });

  const base64 = (floats) => btoa(String.fromCharCode(...new Uint8Array(new Float32Array(floats).buffer)));

  /** Smooth numbers with a sign, so that a heat map has something to show. */
  function values({ subject, index, row, column, rows, columns, findNonFinite }) {
    const floats = [];
    for (let r = row; r < row + rows; r++) for (let c = column; c < column + columns; c++) floats.push(1e-4 * Math.sin(0.7 * r + 0.31 * c) * Math.cos(0.13 * r * c));
    const value = { subject, shape: [768, 768], dtype: "float32", device: "cpu", index, row, column, rows, columns, values: { dtype: "<f4", data: base64(floats) }, first_nonfinite: findNonFinite ? [0, 3] : null, missing: [] };
    return JSON.stringify({ kind: "Values", value });
  }

  const answers = {
    values,
    sourceLines: ({ line, around }) => ({ first: Math.max(1, line - around), lines: Array.from({ length: 2 * around + 1 }, (_, i) => (i === around ? "att = scores.softmax(-1)" : `scores = scores.masked_fill(~mask, float("-inf"))`)) }),
    setConditions: ({ conditions }) => {
      send({ type: "conditions", session, conditions });
      return null;
    },
  };

  function respond({ id, method, params: request }) {
    const fails = (params.get("fail") ?? "").split(",").includes(method);
    if (fails) return send({ type: "response", id, ok: false, error: `${method}: the program went on before the answer came.` });
    send({ type: "response", id, ok: true, value: answers[method]?.(request) ?? null });
  }

  window.acquireVsCodeApi = () => ({
    postMessage: (message) => {
      posted.push(message);
      if (message.type === "ready") ready();
      if (message.type === "focus") keys = message.keys;
      if (message.type === "request") setTimeout(() => respond(message), 5);
    },
    getState: () => state,
    setState: (next) => {
      state = next;
    },
  });

  // VS Code's keybindings for a focused panel.
  const commands = { 1: "gradients", 2: "graph", 3: "held", "/": "filter", f: "nextTrouble", F: "previousTrouble", b: "breakHere", n: "stepToNextNode" };
  window.addEventListener("keydown", (event) => {
    const name = commands[event.key];
    if (name && keys && !event.ctrlKey && !event.metaKey && !event.altKey) send({ type: "command", name });
  });

  window.harness = {
    posted,
    whenReady,
    /** In order, each in a task of its own, as a host's messages come. */
    send: async (messages) => {
      for (const message of messages) {
        if (message.session) session = message.session;
        send(message);
        await new Promise((resolve) => setTimeout(resolve));
      }
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    },
  };
})();
