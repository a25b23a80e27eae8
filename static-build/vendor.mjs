// What static/assets/editor.js uses of other people's work. esbuild leaves out the rest.
export { Doc, UndoManager, createAbsolutePositionFromRelativePosition, createRelativePositionFromTypeIndex } from "yjs";
export { WebsocketProvider } from "y-websocket";
export { Annotation, EditorState, RangeSet } from "@codemirror/state";
export { Decoration, EditorView, ViewPlugin, WidgetType, drawSelection, keymap, placeholder } from "@codemirror/view";
export { defaultKeymap } from "@codemirror/commands";
export { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
