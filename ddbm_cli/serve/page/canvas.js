"use strict";

/* The drawing: strokes with pressure, an image as a base, undo and redo. */

const PAPER = "#ffffff";
const MOST_UNDO = 40;

class Drawing {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed; // called with true at the end of a change, with false within a stroke
    this.tool = "pen";
    this.colour = "#1b1b1b";
    this.width = 9;
    this.file = null; // an opened image that is not drawn on is sent as it is
    this.empty = true;
    this.past = [];
    this.future = [];
    this.pointer = null;
    this.penSeen = 0;
    this.blank();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  blank() {
    this.context.fillStyle = PAPER;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  state() {
    const { width, height } = this.canvas;
    return { pixels: this.context.getImageData(0, 0, width, height), file: this.file, empty: this.empty };
  }

  remember() {
    this.past.push(this.state());
    if (this.past.length > MOST_UNDO) this.past.shift();
    this.future = [];
  }

  restore(from, to) {
    if (!from.length || this.pointer !== null) return;
    to.push(this.state());
    const state = from.pop();
    this.context.putImageData(state.pixels, 0, 0);
    this.file = state.file;
    this.empty = state.empty;
    this.changed(true);
  }

  undo() { this.restore(this.past, this.future); }

  redo() { this.restore(this.future, this.past); }

  clear() {
    if (this.pointer !== null || (this.empty && !this.file)) return;
    this.remember();
    this.blank();
    this.file = null;
    this.empty = true;
    this.changed(true);
  }

  async open(file) {
    const image = await createImageBitmap(file);
    this.remember();
    this.blank();
    const { width, height } = this.canvas;
    const scale = Math.min(width / image.width, height / image.height);
    const shown = [image.width * scale, image.height * scale];
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(image, (width - shown[0]) / 2, (height - shown[1]) / 2, ...shown);
    image.close();
    this.file = file;
    this.empty = false;
    this.changed(true);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    const pressure = event.pointerType === "pen" && event.pressure > 0 ? 0.35 + 1.3 * event.pressure : 1;
    return { x, y, width: this.width * pressure };
  }

  down(event) {
    if (this.pointer !== null || (event.pointerType === "mouse" && event.button !== 0)) return;
    if (event.pointerType === "pen") this.penSeen = Date.now();
    if (event.pointerType === "touch" && Date.now() - this.penSeen < 2000) return; // the palm next to a pen
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.pointer = event.pointerId;
    this.erasing = this.tool === "eraser" || Boolean(event.buttons & 32);
    this.file = null;
    this.empty = false;
    this.last = this.place(event);
    this.line(this.last, this.last);
    this.changed(false);
  }

  move(event) {
    if (event.pointerType === "pen") this.penSeen = Date.now();
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of events.length ? events : [event]) {
      const place = this.place(each);
      this.line(this.last, place);
      this.last = place;
    }
    this.changed(false);
  }

  up(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed(true);
  }

  line(from, to) {
    const { context } = this;
    context.strokeStyle = this.erasing ? PAPER : this.colour;
    context.lineWidth = (this.erasing ? 3 : 1) * to.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
  }

  blob() {
    if (this.file) return Promise.resolve(this.file);
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }
}
