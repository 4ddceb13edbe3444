"""`accelerate launch -m offline.finetune`: the command of `winnow lab finetune` in each of several processes."""

from offline.commands.finetune import app

if __name__ == "__main__":
    app(prog_name="offline.finetune")
