/** One line at the foot: what went wrong, what was answered, what was done. */

import type { JSX } from "preact";
import { shellText } from "../../shared/text";
import type { Message } from "../use_message";

export function MessageLine({ message, onDismiss }: { readonly message: Message; readonly onDismiss: () => void }): JSX.Element {
  return (
    <div class={`message ${message.kind}`} role={message.kind === "problem" ? "alert" : "status"}>
      <span>{message.text}</span>
      <button type="button" class="link" onClick={onDismiss}>
        {shellText.dismiss}
      </button>
    </div>
  );
}
