"use strict";
// Renders the document of /api/schema/ and sends requests. Texts are set as text, never as markup.
(() => {
  const make = (name, text, ...children) => {
    const node = document.createElement(name);
    if (text) node.textContent = text;
    node.append(...children);
    return node;
  };
  const pretty = (value) => JSON.stringify(value, null, 2);

  function field(parameter) {
    const input = make("input");
    input.placeholder = parameter.description || "";
    const name = parameter.name + " (" + parameter.in + (parameter.required ? ", required)" : ")");
    return { parameter, input, label: make("label", name + " ", input) };
  }

  function resolve(schema, root) {
    if (!schema || !schema.$ref) return schema;
    return schema.$ref.split("/").slice(1).reduce((node, key) => node && node[key], root);
  }

  function answers(operation, root) {
    const table = make("table");
    for (const [status, answer] of Object.entries(operation.responses || {})) {
      const row = make("tr", "", make("td", status), make("td", answer.description));
      const content = Object.values(answer.content || {})[0];
      const shown = content && (content.example || (resolve(content.schema, root) || {}).properties);
      if (shown) {
        const more = make("details", "", make("summary", "body"), make("pre", pretty(shown)));
        row.append(make("td", "", more));
      }
      table.append(row);
    }
    return table;
  }

  async function send(method, path, fields, body, output) {
    const query = new URLSearchParams();
    const headers = { Accept: path === "/api/docs/" ? "text/html" : "application/json" };
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = "Token " + token;
    for (const { parameter, input } of fields) {
      const value = input.value.trim();
      if (parameter.in === "path") path = path.replace("{" + parameter.name + "}", encodeURIComponent(value));
      else if (value && parameter.in === "query") query.set(parameter.name, value);
      else if (value && parameter.in === "header") headers[parameter.name] = value;
    }
    const text = body ? body.value.trim() : "";
    if (text) headers["Content-Type"] = "application/json";
    const target = path + (query.size ? "?" + query : "");
    output.textContent = "…";
    try {
      const begun = performance.now();
      const reply = await fetch(target, { method, headers, body: text || undefined, credentials: "omit" });
      const took = Math.round(performance.now() - begun);
      let told = await reply.text();
      try { told = pretty(JSON.parse(told)); } catch { /* shown as it is */ }
      const lines = [method + " " + target, reply.status + " " + reply.statusText + " in " + took + " ms"];
      for (const name of ["x-total-count", "link", "retry-after"]) {
        if (reply.headers.has(name)) lines.push(name + ": " + reply.headers.get(name));
      }
      output.textContent = lines.join("\n") + "\n\n" + told;
    } catch (error) {
      output.textContent = "no answer: " + error.message;
    }
  }

  function render(method, path, operation, root) {
    const summary = make("summary", "", make("b", method), make("code", path), make("span", operation.summary));
    const box = make("details", "", summary);
    if (operation.description) box.append(make("p", operation.description));
    const needsToken = (operation.security || []).length > 0;
    box.append(make("p", needsToken ? "Needs a token." : "Needs no token."));
    const fields = (operation.parameters || []).map(field);
    box.append(...fields.map((one) => one.label));
    let body = null;
    const content = operation.requestBody && operation.requestBody.content["application/json"];
    if (content) {
      body = make("textarea");
      body.rows = 8;
      body.value = content.example ? pretty(content.example) : "";
      box.append(make("label", "Body ", body));
    }
    const output = make("pre");
    output.hidden = true;
    const button = make("button", "Send");
    button.addEventListener("click", () => {
      output.hidden = false;
      send(method, path, fields, body, output);
    });
    box.append(button, output, make("h4", "Answers"), answers(operation, root));
    return box;
  }

  async function main() {
    const place = document.getElementById("operations");
    const reply = await fetch("/api/schema/", { credentials: "omit" });
    const root = await reply.json();
    document.getElementById("title").textContent = root.info.title + " " + root.info.version;
    document.getElementById("about").textContent = root.info.description;
    place.replaceChildren();
    for (const tag of root.tags) {
      const section = make("section", "", make("h2", tag.name), make("p", tag.description));
      for (const [path, item] of Object.entries(root.paths)) {
        for (const [method, operation] of Object.entries(item)) {
          if ((operation.tags || []).includes(tag.name)) {
            section.append(render(method.toUpperCase(), path, operation, root));
          }
        }
      }
      place.append(section);
    }
  }

  main().catch((error) => {
    document.getElementById("operations").textContent = "the document cannot be read: " + error.message;
  });
})();
