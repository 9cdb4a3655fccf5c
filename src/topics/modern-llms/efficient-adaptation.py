# ---
# title: Efficient adaptation
# summary: "Changing a large model by training a small part: LoRA and its kin."
# prerequisites:
#   - modern-llms/fine-tuning: what full fine-tuning costs
#   - modern-llms/rlhf: the other thing one adapts for
#   - modern-llms/instruction-tuning: what one adapts for
# notebooks: [11-lora-from-scratch]
# packages: [numpy, matplotlib, torch, peft]
# ---
