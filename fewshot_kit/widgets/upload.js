// A box to choose files in or drop them on. It sends each to the kernel in pieces, and waits for an answer after every piece.

const PIECE = 1024 * 1024; // bytes: Jupyter drops the connection on a message above 10 MB
const PATIENCE = 3000; // milliseconds without an answer, after which the person is told that the kernel is busy

function make(tag, name, properties = {}) {
  return Object.assign(document.createElement(tag), { className: `fewshot-upload-${name}`, ...properties });
}

function megabytes(n) {
  return `${(n / 1e6).toFixed(1)} MB`;
}

function render({ model, el }) {
  const input = make("input", "input", { type: "file", accept: model.get("accept"), hidden: true });
  const button = make("button", "choose", { type: "button", textContent: model.get("label") });
  const zone = make("div", "zone");
  const bar = make("progress", "bar", { max: 1, value: 0, ariaLabel: "uploaded" });
  const cancel = make("button", "cancel", { type: "button", textContent: "Cancel" });
  const row = make("div", "row");
  const said = make("div", "said"); // what this page alone is about
  const told = make("div", "told"); // what the kernel says
  input.multiple = model.get("most_files") > 1;
  said.setAttribute("role", "status");
  told.setAttribute("role", "status");
  zone.append(button, make("span", "hint", { textContent: "or drop it here" }), input);
  row.append(bar, cancel);
  el.classList.add("fewshot-upload");
  el.append(zone, row, said, told);

  let current = null; // the upload under way: { id, answer }

  function tell(note, error) {
    model.set({ note, error });
    model.save_changes();
  }

  function showTold() {
    const error = model.get("error");
    told.textContent = error ? `Error: ${error}` : model.get("note");
    told.classList.toggle("fewshot-upload-error", Boolean(error));
  }

  function showProgress(text, part) {
    row.classList.toggle("fewshot-upload-busy", part !== null);
    bar.value = part ?? 0;
    said.textContent = text;
  }

  function ask(upload, content, buffers = []) {
    return new Promise((resolve) => {
      const slow = setTimeout(() => (said.textContent += " – waiting for the kernel"), PATIENCE);
      upload.answer = (reply) => {
        clearTimeout(slow);
        resolve(reply);
      };
      model.send({ id: upload.id, ...content }, undefined, buffers);
    });
  }

  function onAnswer(reply) {
    if (current?.id === reply.id) current.answer(reply);
  }

  function stop() {
    if (!current) return;
    const stopped = current;
    current = null;
    model.send({ id: stopped.id, kind: "abort" });
    stopped.answer({ kind: "stopped" });
    showProgress("", null);
  }

  async function send(file) {
    const upload = { id: crypto.getRandomValues(new Uint32Array(4)).join("-"), answer: () => {} };
    current = upload;
    showProgress(`0.0 of ${megabytes(file.size)}`, 0);
    let reply = await ask(upload, { kind: "begin", name: file.name, size: file.size });
    for (let offset = 0; reply.kind === "next" && current === upload; offset += PIECE) {
      const piece = await file.slice(offset, offset + PIECE).arrayBuffer();
      if (current !== upload) return false;
      reply = await ask(upload, { kind: "piece", offset }, [piece]);
      const sent = Math.min(offset + PIECE, file.size);
      if (current === upload) showProgress(`${megabytes(sent)} of ${megabytes(file.size)}`, sent / file.size);
    }
    if (current !== upload) return false;
    current = null;
    showProgress("", null);
    return reply.kind === "done";
  }

  async function take(chosen) {
    stop();
    const most = model.get("most_files");
    if (chosen.length === 0) return tell("", "nothing to upload came; choose or drop a file, not a link or a text");
    if (most > 1 && chosen.length > most) return tell("", `${chosen.length} files came, but at most ${most} at once; choose fewer`);
    const files = most > 1 ? chosen : chosen.slice(-1);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const limit = model.get("most_bytes");
    if (total > limit) {
      return tell("", `${megabytes(total)} came, but at most ${megabytes(limit)} can be uploaded at once; make the picture smaller`);
    }
    tell("", "");
    for (const file of files) {
      try {
        if (!(await send(file))) return;
      } catch (error) {
        stop();
        return tell("", `${file.name.slice(0, 40)} could not be read; if it is a folder, drop the pictures in it (${error.name})`);
      }
    }
    if (files.length < chosen.length) said.textContent = `Only the last of ${chosen.length} files was taken.`;
  }

  const drag = (isOver) => (event) => {
    event.preventDefault();
    event.stopPropagation();
    zone.classList.toggle("fewshot-upload-over", isOver);
  };
  zone.addEventListener("dragover", drag(true));
  zone.addEventListener("dragleave", drag(false));
  zone.addEventListener("drop", (event) => {
    drag(false)(event);
    take([...event.dataTransfer.files]);
  });
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const chosen = [...input.files];
    input.value = ""; // else the same file chosen again is no change
    if (chosen.length) take(chosen);
  });
  cancel.addEventListener("click", stop);
  window.addEventListener("pagehide", stop);
  model.on("msg:custom", onAnswer);
  model.on("change:note", showTold);
  model.on("change:error", showTold);
  showProgress("", null);
  showTold();

  return () => {
    stop();
    window.removeEventListener("pagehide", stop);
    model.off("msg:custom", onAnswer);
    model.off("change:note", showTold);
    model.off("change:error", showTold);
  };
}

export default { render };
