// The picture of a camera, and a button that sends it to the kernel.

const SIDE = 480; // of the square that is sent, in pixels

const WHY = {
  NotAllowedError: "the camera was refused: allow it beside the page's address, then start it again",
  NotFoundError: "no camera was found: connect one, then start it again; or upload pictures",
  NotReadableError: "another program uses the camera: close it, then start it again",
};

function render({ model, el }) {
  const make = (tag, name, properties = {}) => Object.assign(document.createElement(tag), { className: `fewshot-camera-${name}`, ...properties });
  const video = make("video", "video", { autoplay: true, muted: true, playsInline: true });
  const start = make("button", "start", { type: "button", textContent: "Start the camera" });
  const take = make("button", "take", { type: "button", disabled: true });
  const told = make("div", "told");
  const row = make("div", "row");
  let stream = null;
  let alive = true;
  told.setAttribute("role", "status");
  row.append(start, take);
  el.classList.add("fewshot-camera");
  el.append(video, row, told);

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    take.disabled = true;
    start.textContent = "Start the camera";
  }

  async function begin() {
    if (stream) return stop();
    told.textContent = "";
    if (!navigator.mediaDevices?.getUserMedia) {
      told.textContent = "Error: this page cannot use a camera: open it by https or on this machine (localhost), or upload pictures";
      return;
    }
    start.disabled = true;
    try {
      const found = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
      stream = found;
      if (!alive) return stop();
      video.srcObject = found;
      await video.play();
      take.disabled = false;
      start.textContent = "Stop the camera";
    } catch (error) {
      stop();
      told.textContent = `Error: ${WHY[error.name] ?? `the camera does not start (${error.name}); upload pictures instead`}`;
    } finally {
      start.disabled = false;
    }
  }

  function send() {
    const side = Math.min(video.videoWidth, video.videoHeight);
    if (!side) return;
    const square = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
    square.getContext("2d").drawImage(video, left, top, side, side, 0, 0, SIDE, SIDE);
    square.toBlob(async (blob) => model.send({ kind: "picture" }, undefined, [await blob.arrayBuffer()]), "image/jpeg", 0.9);
  }

  const label = () => (take.textContent = model.get("label"));
  start.addEventListener("click", begin);
  take.addEventListener("click", send);
  window.addEventListener("pagehide", stop);
  model.on("change:label", label);
  label();

  return () => {
    alive = false;
    stop();
    window.removeEventListener("pagehide", stop);
    model.off("change:label", label);
  };
}

export default { render };
