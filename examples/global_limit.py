"""One limit for the whole account: for processors in one process, for scripts, for machines."""

import asyncio

from replibatch import IntelligentBatchProcessor, get_global_status, intelligent_batch_process


async def global_concurrency_example():
    prompts = ["beautiful sunset over mountains", "peaceful lake reflection", "city skyline at night"]
    files = await intelligent_batch_process(
        prompts=prompts,
        model_name="black-forest-labs/flux-dev",
        max_concurrent=8,  # the most of this batch at a time
        output_dir="./output",
        # REPLICATE_GLOBAL_MAX_CONCURRENT holds for the account, from the environment or from .env
    )

    status = get_global_status()
    print(f"🌐 Global Status: {len(files)} files")
    print(f"   Max concurrent: {status['global_max_concurrent']}")
    print(f"   Current active: {status['current_concurrent']}")
    print(f"   Available slots: {status['available_slots']}")
    print(f"   Utilization: {status['utilization_percentage']:.1f}%")
    return files


def multi_instance_example():
    landscapes = IntelligentBatchProcessor(max_concurrent=8, global_max_concurrent=40)
    portraits = IntelligentBatchProcessor(max_concurrent=12)  # the lowest limit given to a live process holds for all
    for name, processor in (("landscapes", landscapes), ("portraits", portraits)):
        status = processor.global_manager.get_global_status()
        print(f"{name}: global limit {status['global_max_concurrent']}")


if __name__ == "__main__":
    asyncio.run(global_concurrency_example())
    multi_instance_example()
