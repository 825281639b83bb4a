// Files of answers and of users. They are fetched, because a URL in an element would be loaded without the token.

import { element } from "./markdown.js";
import { fileContent } from "./stream.js";

const GONE = "This file is no longer available. Please ask for it again.";

/** Returns an inline image, or a button that saves the file. */
export function fileNode({ name, media_type: type, size, alt, url, is_chart: isChart }) {
  const isImage = type.startsWith("image/");
  const figure = element("figure", { class: `file${isImage ? " loading" : ""}${isChart ? " chart" : ""}` });
  if (isImage) showImage(figure, url, alt || name, name);
  else figure.append(saveButton(url, name, `${name} (${readableSize(size)})`));
  return figure;
}

async function showImage(figure, url, alt, name) {
  try {
    const address = URL.createObjectURL(await fileContent(url));
    const image = element("img", { alt, src: address });
    await image.decode();
    figure.append(image, saveButton(url, name, "Save picture", "copy"));
  } catch {
    figure.append(element("p", { class: "fine" }, `${alt}. ${GONE}`));
  }
  figure.classList.remove("loading");
}

/** Returns a button that saves what is at an address of the bot. */
export function saveButton(url, name, label, look = "button") {
  const button = element("button", { type: "button", class: look }, label);
  button.addEventListener("click", async () => {
    try {
      const address = URL.createObjectURL(await fileContent(url));
      element("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser reads it after the click
    } catch {
      button.replaceWith(element("p", { class: "fine" }, GONE));
    }
  });
  return button;
}

/** Returns a picked file in the format of `POST /chat`. */
export function sendable(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error);
    reader.onload = () => {
      const content = String(reader.result).split(",")[1] ?? "";
      resolve({ name: file.name, media_type: file.type || "application/octet-stream", content_base64: content });
    };
    reader.readAsDataURL(file);
  });
}

export function readableSize(bytes) {
  if (bytes < 1_000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1_000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
