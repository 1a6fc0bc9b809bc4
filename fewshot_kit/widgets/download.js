// A button: the kernel makes a file when it is pressed, and the browser saves it.

function render({ model, el }) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "fewshot-download", textContent: model.get("label") });
  let parts = [];
  button.addEventListener("click", () => {
    button.disabled = true;
    parts = [];
    model.send({ kind: "make" });
  });
  function onMessage(message, buffers) {
    if (message.kind === "piece") {
      parts.push(buffers[0]);
      model.send({ kind: "next", place: parts.length });
    } else {
      button.disabled = false;
      if (message.kind === "done" && parts.length) {
        const url = URL.createObjectURL(new Blob(parts, { type: "application/zip" }));
        Object.assign(document.createElement("a"), { href: url, download: message.name }).click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
      }
      parts = [];
    }
  }
  model.on("msg:custom", onMessage);
  el.append(button);
  return () => model.off("msg:custom", onMessage);
}

export default { render };
