// Colours of code. The library is loaded with the first code that has a known language.

const MOST_CHARS = 20_000;
const LANGUAGES = { bash: "bash", sh: "bash", shell: "bash", css: "css", diff: "diff", go: "go", java: "java", javascript: "javascript", js: "javascript", json: "json", python: "python", py: "python", rust: "rust", rs: "rust", sql: "sql", typescript: "typescript", ts: "typescript", html: "xml", xml: "xml", yaml: "yaml", yml: "yaml" };

const loaded = new Map(); // language -> its library, as a promise

function load(language) {
  if (!loaded.has(language)) {
    const parts = [import("./vendor/highlight-core.js"), import(`./vendor/highlight-${language}.js`)];
    const ready = Promise.all(parts).then(([{ default: library }, { default: grammar }]) => {
      library.registerLanguage(language, grammar);
      return library;
    });
    loaded.set(language, ready);
  }
  return loaded.get(language);
}

/** Colours the element of a code once the library is there; without it the code stays as it is. */
export async function paint(node, code, name) {
  const language = Object.hasOwn(LANGUAGES, name.toLowerCase()) ? LANGUAGES[name.toLowerCase()] : null;
  if (!language || code.length > MOST_CHARS || !node.replaceChildren) return;
  try {
    const library = await load(language);
    const { _emitter: emitter } = library.highlight(code, { language });
    node.replaceChildren(...emitter.rootNode.children.map(coloured));
  } catch (error) {
    console.warn(error);
  }
}

/** Returns the node of what the library found: a text, or a span with its kind as a class. */
function coloured(found) {
  if (typeof found === "string") return found;
  const node = document.createElement("span");
  if (found.scope) node.className = `hl-${found.scope.split(".")[0]}`;
  node.append(...found.children.map(coloured));
  return node;
}
