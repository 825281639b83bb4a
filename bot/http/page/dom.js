// The elements of index.html, by their ids.

/** @type {(id: string) => any} The kind of an element is known from index.html. */
export const find = (id) => document.getElementById(id);
