// Small pictures in a row, each with a cross that asks the kernel to take it away.

function render({ model, el }) {
  const urls = [];
  el.classList.add("fewshot-thumbnails");
  el.setAttribute("role", "list");

  function draw() {
    while (urls.length) URL.revokeObjectURL(urls.pop());
    const names = model.get("names");
    const cells = model.get("pictures").map((bytes, place) => {
      const name = names[place] ?? "a picture";
      const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
      urls.push(url);
      const cell = Object.assign(document.createElement("span"), { className: "fewshot-thumbnail" });
      const picture = Object.assign(document.createElement("img"), { src: url, alt: name, title: name });
      const cross = Object.assign(document.createElement("button"), { type: "button", textContent: "×", title: `remove ${name}` });
      cross.setAttribute("aria-label", `remove ${name}`);
      cross.addEventListener("click", () => model.send({ kind: "remove", place, name }));
      cell.setAttribute("role", "listitem");
      cell.append(picture, cross);
      return cell;
    });
    const more = model.get("more");
    if (more) cells.push(Object.assign(document.createElement("span"), { className: "fewshot-thumbnails-more", textContent: more }));
    el.replaceChildren(...cells);
  }

  model.on("change", draw);
  draw();
  return () => {
    model.off("change", draw);
    while (urls.length) URL.revokeObjectURL(urls.pop());
  };
}

export default { render };
